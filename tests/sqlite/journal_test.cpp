// What SqliteJournal promises beyond the contract: group commit, its bounds, cancellation, closing, effects.
#include "journal_host.hpp"
#include "support/journal_driver.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace aura;        // NOLINT: a test
using namespace aura::test;  // NOLINT

using Driven = JournalDriver<SqliteHost>;

std::string name_of(int number) { return "s" + std::to_string(number); }

/// Initiates births of `count` streams from `first` on, and counts how they end.
struct Outcomes {
  int taken = 0;
  std::vector<Error> errors;

  auto counted() {
    return [this](const Result<void>& result) {
      if (result)
        ++taken;
      else
        errors.push_back(result.error());
    };
  }
  void begin(sqlite::SqliteJournal& journal, int first, int count) {
    for (int i = first; i < first + count; ++i) journal.commit({{birth(name_of(i), {record("1")})}, {}}, counted());
  }
};

/// How many syncs of the log made commits durable from now on. Shared: the disk goes on counting while all is closed.
std::shared_ptr<const int> count_syncs(sim::Disk& disk) {
  auto syncs = std::make_shared<int>(0);
  disk.on_operation([syncs](const sim::DiskOperation& operation) {
    if (operation.verb == sim::DiskVerb::sync && operation.file == "app.db-wal") ++*syncs;
    return sim::DiskFault::none;
  });
  return syncs;
}

}  // namespace

TEST_CASE("commits that wait together share one transaction and one sync") {
  Driven log;
  REQUIRE(ok(log.commit({birth("warm", {record("1")})})));  // the log's header has a sync of its own
  const auto before = log.host.journal().stats();
  const auto syncs = count_syncs(log.host.disk);
  Outcomes outcomes;
  outcomes.begin(log.host.journal(), 0, 100);
  REQUIRE(*syncs == 0);
  log.host.world.run();
  REQUIRE(outcomes.taken == 100);
  REQUIRE(*syncs == 1);
  const auto after = log.host.journal().stats();
  REQUIRE(after.transactions == before.transactions + 1);
  REQUIRE(after.writes == before.writes + 100);
}

TEST_CASE("many callers that come again at once stay in one group") {
  SqliteHost host;
  int commits_left = 100 * 8, taken = 0;
  const std::function<void(int, std::uint64_t)> go_on = [&](int number, std::uint64_t version) {
    if (--commits_left < 0) return;
    const Append next =
        version == 0 ? birth(name_of(number), {record("1")}) : append(name_of(number), version, {record("x")});
    host.journal().commit({{next}, {}}, [&, number, version](const Result<void>& result) {
      if (result) ++taken;
      go_on(number, version + 1);
    });
  };
  const auto before = host.journal().stats().transactions;
  for (int i = 0; i < 100; ++i) go_on(i, 0);
  host.world.run();
  REQUIRE(taken == 800);
  // One of the groups begins before all are back, and learns that nobody comes while it runs: here is but one thread.
  REQUIRE(host.journal().stats().transactions <= before + 8 + 2);
}

TEST_CASE("records are kept in order, however many a transaction writes") {
  Driven log;
  for (const int count : {1, 15, 16, 17, 32, 100}) {
    Append many = birth("many-" + std::to_string(count), {});
    for (int i = 0; i < count; ++i) many.records.push_back(record(std::to_string(i)));
    REQUIRE(ok(log.commit({many})));
    const auto kept = log.read(many.stream, 0, 1000).value();
    REQUIRE(kept == many.records);
  }
}

TEST_CASE("a commit that waits alone is not delayed, and what arrives meanwhile goes into the next group") {
  SqliteHost host;
  host.world.set_blocking_latency(std::chrono::milliseconds(10));
  std::vector<std::int64_t> done_at;
  const auto note = [&](const Result<void>& result) {
    REQUIRE(ok(result));
    done_at.push_back(
        std::chrono::duration_cast<std::chrono::milliseconds>(host.world.steady_now().time_since_epoch()).count());
  };
  for (int i = 0; i < 4; ++i)
    host.world.async_wait_until(SteadyTime(std::chrono::milliseconds(i == 0 ? 100 : 104 + i)), [&, i](auto) {
      host.journal().commit({{birth(name_of(i), {record("1")})}, {}}, note);
    });
  const auto before = host.journal().stats();
  host.world.run();
  // The job that was posted at 100 runs at 110 and takes all that wait by then.
  REQUIRE((done_at == std::vector<std::int64_t>{110, 110, 110, 110}));
  REQUIRE(host.journal().stats().transactions == before.transactions + 1);

  done_at.clear();
  host.world.async_wait_until(SteadyTime(std::chrono::milliseconds(200)), [&](auto) {
    host.journal().commit({{birth("alone", {record("1")})}, {}}, note);
  });
  host.world.run();
  REQUIRE((done_at == std::vector<std::int64_t>{210}));
}

TEST_CASE("nobody is told before the sync") {
  Driven log;
  bool synced = false, told = false;
  log.host.disk.on_operation([&](const sim::DiskOperation& operation) {
    REQUIRE(!told);
    synced = synced || operation.verb == sim::DiskVerb::sync;
    return sim::DiskFault::none;
  });
  log.host.journal().commit({{birth("s", {record("1")})}, {}}, [&](const Result<void>& result) {
    REQUIRE(ok(result));
    REQUIRE(synced);
    told = true;
  });
  log.host.world.run();
  REQUIRE(told);
  log.host.disk.on_operation({});
}

TEST_CASE("a refused batch harms no other of its group") {
  Driven log;
  Outcomes outcomes;
  auto& journal = log.host.journal();
  outcomes.begin(journal, 0, 2);
  journal.commit({{birth(name_of(0), {record("again")}), birth("harmed", {record("1")})}, {}}, outcomes.counted());
  journal.commit({{append(name_of(1), 1, {record("2")}), append(name_of(0), 5, {record("2")})}, {}},
                 outcomes.counted());
  journal.commit({{append(name_of(0), 1, {record("2")})}, {}}, outcomes.counted());
  const auto before = journal.stats().transactions;
  log.host.world.run();
  REQUIRE(journal.stats().transactions == before + 1);
  REQUIRE(outcomes.taken == 3);
  REQUIRE(outcomes.errors.size() == 2);
  REQUIRE(!log.head("harmed").value());
  REQUIRE(log.read(name_of(0), 0, 9)->size() == 2);
  REQUIRE(log.read(name_of(1), 0, 9)->size() == 1);
}

TEST_CASE("more operations or bytes than may wait are refused at once") {
  SqliteHost host;
  REQUIRE(ok(host.open({.waiting_max = 3, .waiting_bytes_max = 1000})));
  Outcomes outcomes;
  outcomes.begin(host.journal(), 0, 5);
  host.world.run();
  REQUIRE(outcomes.taken == 3);
  REQUIRE(outcomes.errors.size() == 2);
  REQUIRE(outcomes.errors[0].is(journal_errc::queue_full));
  REQUIRE(outcomes.errors[0].error_class() == ErrorClass::rejected);

  Outcomes large;
  for (int i = 0; i < 3; ++i)
    host.journal().commit({{birth("l" + name_of(i), {record(std::string(400, 'x'))})}, {}}, large.counted());
  host.world.run();
  REQUIRE(large.taken == 2);
  REQUIRE(large.errors.size() == 1);
}

TEST_CASE("what waits can be cancelled, what is being written completes") {
  SqliteHost host;
  boost::asio::cancellation_signal signals[3];
  std::map<int, Result<void>> results;
  const auto begin = [&](int i) {
    host.journal().commit({{birth(name_of(i), {record("1")})}, {}},
                          boost::asio::bind_cancellation_slot(
                              signals[i].slot(), [&, i](const Result<void>& result) { results.emplace(i, result); }));
  };
  for (const int i : {0, 1, 2}) begin(i);
  signals[1].emit(boost::asio::cancellation_type::partial);
  bool writing = false;
  host.disk.on_operation([&](const sim::DiskOperation&) {
    if (!std::exchange(writing, true)) signals[2].emit(boost::asio::cancellation_type::terminal);
    return sim::DiskFault::none;
  });
  host.world.run();
  host.disk.on_operation({});
  REQUIRE(writing);
  REQUIRE(ok(results.at(0)));
  REQUIRE(results.at(1).error().is(core_errc::cancelled));
  REQUIRE(ok(results.at(2)));
  for (const int i : {0, 1, 2}) REQUIRE(!signals[i].slot().has_handler());
  REQUIRE(host.journal().stats().writes == 2);
}

TEST_CASE("a read sees every commit that was acknowledged before it began") {
  SqliteHost host(3);
  host.world.set_blocking_latency([](Random& dice) { return Duration(static_cast<std::int64_t>(dice.below(1000))); });
  int read_back = 0;
  for (int i = 0; i < 200; ++i)
    host.journal().commit({{birth(name_of(i), {record(name_of(i))})}, {}}, [&, i](const Result<void>& result) {
      REQUIRE(ok(result));
      host.journal().read(name_of(i), 0, 1, [&, i](const Result<std::vector<Record>>& records) {
        REQUIRE(records->size() == 1);
        REQUIRE(records->front().payload == name_of(i));
        ++read_back;
      });
      host.journal().commit({{birth("x" + name_of(i), {record("1")})}, {}}, [](const Result<void>&) {});
    });
  host.world.run();
  REQUIRE(read_back == 200);
}

TEST_CASE("closing finishes what waits and takes nothing more") {
  SqliteHost host;
  Outcomes outcomes;
  outcomes.begin(host.journal(), 0, 5);
  std::vector<std::string> order;
  for (const char* name : {"first", "second"})
    host.journal().async_close([&, name](const Result<void>& result) {
      REQUIRE(ok(result));
      order.emplace_back(name);
    });
  outcomes.begin(host.journal(), 5, 1);
  REQUIRE(order.empty());
  host.world.run();
  REQUIRE(order.size() == 2);
  REQUIRE(outcomes.taken == 5);
  REQUIRE(outcomes.errors.size() == 1);
  REQUIRE(outcomes.errors[0].is(journal_errc::closed));
  REQUIRE(!host.disk.exists("app.db-wal").value());  // the last connection has put everything into the database
  Outcomes late;
  late.begin(host.journal(), 9, 1);
  host.world.run();
  REQUIRE(late.errors.size() == 1);
  REQUIRE(ok(host.open()));
}

TEST_CASE("destroyed without a drain, it completes what waited with an error, and what it wrote is there") {
  Driven log;
  Outcomes outcomes, reads;
  outcomes.begin(log.host.journal(), 0, 2);
  log.host.world.run();
  outcomes.begin(log.host.journal(), 2, 3);
  log.host.journal().head("s0", [&](const Result<std::optional<StreamHead>>& head) { reads.taken += head ? 1 : 0; });
  log.host.log.reset();
  REQUIRE(outcomes.taken == 2);
  log.host.world.run();
  REQUIRE(outcomes.errors.size() == 3);
  for (const Error& error : outcomes.errors) REQUIRE(error.is(journal_errc::closed));
  REQUIRE(reads.taken == 0);
  REQUIRE(ok(log.host.open()));
  REQUIRE(log.names({.kind = "saga"}).size() == 2);
}

TEST_CASE("a world that ends with operations under way takes them with it") {
  auto held = std::make_shared<int>(1);
  {
    SqliteHost host;
    host.journal().commit({{birth("s", {record("1")})}, {}}, [held](const Result<void>&) { ++*held; });
    host.journal().async_close([held](const Result<void>&) { ++*held; });
    host.world.run_one();
    host.log.reset();
  }
  REQUIRE(held.use_count() == 1);
}

TEST_CASE("a handler that throws keeps no other from its result") {
  SqliteHost host;
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    // Erased, so that it runs inside the delivery.
    boost::asio::any_completion_handler<void(Result<void>)> handler = [&](const Result<void>&) {
      ++calls;
      throw std::runtime_error("of the host");
    };
    host.journal().commit({{birth(name_of(i), {record("1")})}, {}}, std::move(handler));
  }
  for (int i = 0; i < 3; ++i) REQUIRE_THROWS(host.world.run());
  host.world.run();
  REQUIRE(calls == 3);
}

TEST_CASE("a context that runs out of work does not stop before the completion") {
  boost::asio::io_context handlers, blocking;
  sim::Disk disk;
  sqlite::Vfs<sim::Disk> vfs(disk);
  SqliteHost host;
  struct World {
    boost::asio::io_context &handlers, &blocking;
    SteadyTime steady_now() const { return {}; }
    WallTime wall_now() const { return {}; }
    boost::asio::any_io_executor executor() const { return handlers.get_executor(); }
    boost::asio::any_io_executor blocking_executor() const { return blocking.get_executor(); }
    Random random(std::string_view name) const { return Random::stream(1, name); }
    void async_wait_until(SteadyTime, WaitHandler) {}
  } world{handlers, blocking};
  auto log = sqlite::SqliteJournal::open(world, {.path = "app.db", .vfs = vfs.name()}).value();
  boost::asio::io_context others;
  bool done = false;
  log->commit({{birth("s", {record("1")})}, {}},
              boost::asio::bind_executor(others.get_executor(), [&](const Result<void>&) { done = true; }));
  REQUIRE(others.poll() == 0);
  REQUIRE(!others.stopped());
  REQUIRE(handlers.poll() == 0);
  REQUIRE(!handlers.stopped());
  blocking.run();
  handlers.run();
  others.run();
  REQUIRE(done);
}
