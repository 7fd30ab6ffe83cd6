// Sagas on a SQLite file, every step synced before the next begins, beside what SQLite alone can do on the same disk.
#include "support/bench.hpp"
#include "support/temporary.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

using aura::sqlite::SqliteJournal;

/// Eight plain steps one after another.
auto chain_of_eight() {
  const auto first = [](const std::uint64_t& input) { return input + 1; };
  const auto next = [](const std::uint64_t&, const std::uint64_t& before) { return before + 1; };
  using aura::step;
  return aura::Saga{"chain",
                    aura::version{1},
                    step<"s1">(first).pure(),
                    step<"s2">(next).pure().after<"s1">(),
                    step<"s3">(next).pure().after<"s2">(),
                    step<"s4">(next).pure().after<"s3">(),
                    step<"s5">(next).pure().after<"s4">(),
                    step<"s6">(next).pure().after<"s5">(),
                    step<"s7">(next).pure().after<"s6">(),
                    step<"s8">(next).pure().after<"s7">()};
}
constexpr std::size_t steps_of_chain = 8;

/// A host: one thread of handlers, one that may block, a journal in a file of its own.
struct World {
  explicit World(const std::string& path) : journal(open(path)) {}
  ~World() {
    runner.reset();
    context.run();
  }

  std::unique_ptr<SqliteJournal> open(const std::string& path) {
    return SqliteJournal::open(runtime, {.path = path}).value();
  }

  template <class SagaType>
  double recover_ms(const SagaType& saga, std::size_t expected) {
    runner = std::make_unique<aura::SagaRunner<SqliteJournal>>(
        runtime, *journal,
        aura::SagaRunnerOptions{.holder = aura::HolderId("benchmark"), .command_poll = aura::Duration::zero()});
    runner->add(saga).value();
    std::size_t resumed = expected + 1;
    const double seconds = aura::bench::seconds_of([&] {
      runner->recover([&](aura::Result<aura::SagaRecovery> found) { resumed = found.value().resumed; });
      while (resumed == expected + 1) context.run_one();
    });
    if (resumed != expected) throw std::logic_error("a run was not resumed");
    return 1e3 * seconds;
  }

  boost::asio::io_context context{1};
  boost::asio::thread_pool blocking{1};
  aura::AsioRuntime runtime{context.get_executor(), blocking.get_executor(), 1};
  std::unique_ptr<SqliteJournal> journal;
  std::unique_ptr<aura::SagaRunner<SqliteJournal>> runner;
};

/// Microseconds a step where one saga runs at a time: from its durable start to its end.
double step_us(std::size_t sagas) {
  const aura::bench::TemporaryFolder folder;
  World world(folder.file("journal.db"));
  const auto saga = chain_of_eight();
  world.recover_ms(saga, 0);
  double seconds = 0;
  for (std::size_t i = 0; i < sagas; ++i) {
    const aura::RunId id("run-" + std::to_string(i));
    bool begun = false, ended = false;
    world.runner->start(saga, id, i, [&](aura::Result<void> outcome) { begun = outcome.has_value(); });
    while (!begun) world.context.run_one();
    seconds += aura::bench::seconds_of([&] {
      world.runner->wait(id, [&](aura::Result<aura::SagaReport> report) { ended = report.value().completed(); });
      while (!ended) world.context.run_one();
    });
  }
  return 1e6 * seconds / static_cast<double>(sagas * steps_of_chain);
}

/// Steps a second with 256 sagas at once.
double steps_per_second(std::size_t sagas) {
  const aura::bench::TemporaryFolder folder;
  World world(folder.file("journal.db"));
  const auto saga = chain_of_eight();
  world.recover_ms(saga, 0);
  std::size_t begun = 0, ended = 0;
  const std::function<void()> begin_next = [&] {
    if (begun == sagas) return;
    const std::size_t number = begun++;
    world.runner->run(saga, aura::RunId("run-" + std::to_string(number)), number,
                      [&](aura::Result<aura::SagaReport> report) {
                        ended += report.value().completed();
                        begin_next();
                      });
  };
  const double seconds = aura::bench::seconds_of([&] {
    for (std::size_t i = 0; i < 256; ++i) begin_next();
    while (ended < sagas) world.context.run_one();
  });
  return static_cast<double>(sagas * steps_of_chain) / seconds;
}

/// SQLite and nothing else: one table, one prepared insert of a step's payload, `rows` in transactions of `group`.
double bare_rows_seconds(std::size_t rows, std::size_t group) {
  const aura::bench::TemporaryFolder folder;
  sqlite3* db = nullptr;
  const auto execute = [&](const char* sql) {
    if (sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(db));
  };
  if (sqlite3_open(folder.file("bare.db").c_str(), &db) != SQLITE_OK) throw std::runtime_error("cannot open");
  execute("PRAGMA journal_mode=WAL");
  execute("PRAGMA synchronous=FULL");
  execute("CREATE TABLE records(stream INTEGER, version INTEGER, at INTEGER, payload BLOB)");
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(db, "INSERT INTO records VALUES(?,?,?,?)", -1, &insert, nullptr);
  const std::string payload(12, 'x');  // a finished step with its small result, and the start of the next
  const double seconds = aura::bench::seconds_of([&] {
    for (std::size_t done = 0; done < rows;) {
      execute("BEGIN IMMEDIATE");
      for (std::size_t i = 0; i < group && done < rows; ++i, ++done) {
        sqlite3_bind_int64(insert, 1, static_cast<sqlite3_int64>(done % 256));
        sqlite3_bind_int64(insert, 2, static_cast<sqlite3_int64>(done / 256));
        sqlite3_bind_int64(insert, 3, 1'700'000'000'000'000'000 + static_cast<sqlite3_int64>(done));
        sqlite3_bind_blob(insert, 4, payload.data(), static_cast<int>(payload.size()), SQLITE_STATIC);
        if (sqlite3_step(insert) != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(db));
        sqlite3_reset(insert);
      }
      execute("COMMIT");
    }
  });
  sqlite3_finalize(insert);
  sqlite3_close(db);
  return seconds;
}

auto waiting_saga() {
  const auto fails = [](const std::uint64_t&) -> aura::Result<std::uint64_t> {
    return aura::Error::fixed("benchmark", 1, aura::ErrorClass::transient, "not today");
  };
  const auto next = [](const std::uint64_t&, const std::uint64_t& before) { return before; };
  aura::RetryPolicy patient = aura::RetryPolicy::forever();
  patient.base = patient.cap = std::chrono::hours(24);
  return aura::Saga{"waits", aura::version{1}, aura::step<"call">(fails).pure().retry(patient),
                    aura::step<"use">(next).pure().after<"call">(), aura::step<"end">(next).pure().after<"use">()};
}

/// Milliseconds until runs that wait are all driven again, as after a restart of their process.
struct Recovery {
  explicit Recovery(std::size_t count) : runs(count), saga(waiting_saga()) {
    World world(folder.file("journal.db"));
    world.recover_ms(saga, 0);
    std::size_t begun = 0, answered = 0;
    const std::function<void()> begin_next = [&] {
      if (begun == runs) return;
      const std::size_t number = begun++;
      world.runner->start(saga, aura::RunId("run-" + std::to_string(number)), number,
                          [&](aura::Result<void> outcome) {
                            answered += outcome.has_value();
                            begin_next();
                          });
    };
    for (std::size_t i = 0; i < 1024; ++i) begin_next();
    while (answered < runs) world.context.run_one();
    bool drained = false;
    world.runner->drain(std::chrono::minutes(1), [&](aura::Result<void>) { drained = true; });
    while (!drained) world.context.run_one();
  }

  double ms() {
    World world(folder.file("journal.db"));
    return world.recover_ms(saga, runs);
  }

  aura::bench::TemporaryFolder folder;
  std::size_t runs;
  decltype(waiting_saga()) saga;
};

}  // namespace

int main(int argc, char** argv) {
  using aura::bench::Better;
  aura::bench::Suite suite(argc, argv);
  const std::size_t one_at_a_time = suite.quick() ? 25 : 100;
  suite.compare(
      {.name = "saga/durable_step/1", .unit = "us"}, [&] { return step_us(one_at_a_time); },
      "bare FULL commit of one row",
      [&] {
        const std::size_t rows = one_at_a_time * steps_of_chain;
        return 1e6 * bare_rows_seconds(rows, 1) / static_cast<double>(rows);
      });
  const std::size_t many = suite.quick() ? 2'560 : 12'800;
  suite.compare(
      {.name = "saga/durable_steps/256", .unit = "steps/s", .better = Better::higher},
      [&] { return steps_per_second(many); }, "bare group commit of 256 rows",
      [&] {
        const std::size_t rows = many * steps_of_chain;
        return static_cast<double>(rows) / bare_rows_seconds(rows, 256);
      });
  if (suite.wants("saga/recover/100000")) {
    Recovery recovery(100'000);
    suite.measure({.name = "saga/recover/100000", .unit = "ms", .runs = 3}, [&] { return recovery.ms(); });
  }
  return suite.finish();
}
