// What the journal adds to SQLite: a commit of one record beside a bare FULL commit of the same row, and many callers at
// once beside bare group commit of the same rows.
#include "support/bench.hpp"
#include "support/temporary.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace {

using namespace aura;
namespace bench = aura::bench;

constexpr std::size_t payload_bytes = 100;
constexpr std::uint64_t records_per_stream = 6;

/// Streams as sagas have them: begun, appended to a few times, closed, and the next one begun.
template <class Journal>
class Callers {
 public:
  Callers(Journal& journal, boost::asio::io_context& context) : journal_(journal), context_(context) {}

  /// Seconds that `total` commits of one record take, with `at_once` of them waiting at any time.
  double run(std::size_t at_once, std::size_t total) {
    left_ = total;
    context_.restart();
    return bench::seconds_of([&] {
      for (std::size_t i = 0; i < at_once; ++i) Caller{this, "saga/order-" + std::to_string(++streams_)}.next();
      context_.run();
    });
  }

 private:
  struct Caller {
    Callers* all;
    std::string stream;
    std::uint64_t version = 0;

    void next() {
      if (all->left_ == 0) return;
      --all->left_;
      Batch batch;
      Append& append = batch.appends.emplace_back();
      append.stream = stream;
      append.expected_version = version;
      Record& record = append.records.emplace_back();
      record.type = "saga";
      record.at = WallTime(Duration(1'700'000'000'000'000'000));
      record.payload.assign(payload_bytes, 'x');
      const bool last = version + 1 == records_per_stream;
      if (version == 0) append.birth = StreamBirth{"saga", {}};
      if (version == 0 || last) append.index = StreamIndex{last ? "done" : "running", !last, {}, {}};
      Journal& journal = all->journal_;
      journal.commit(std::move(batch), std::move(*this));
    }

    void operator()(const Result<void>& result) {
      result.value();
      if (++version == records_per_stream) {
        stream = "saga/order-" + std::to_string(++all->streams_);
        version = 0;
      }
      next();
    }
  };

  Journal& journal_;
  boost::asio::io_context& context_;
  std::size_t streams_ = 0, left_ = 0;
};

double sqlite_seconds(std::size_t at_once, std::size_t total) {
  const bench::TemporaryFolder folder;
  boost::asio::io_context context(1);
  boost::asio::thread_pool pool(1);
  AsioRuntime world(context.get_executor(), pool.get_executor());
  auto journal = sqlite::SqliteJournal::open(world, {.path = folder.file("journal.db")}).value();
  return Callers(*journal, context).run(at_once, total);
}

/// The same rows, straight into a table, from one thread.
double bare_seconds(std::size_t rows_per_commit, std::size_t total) {
  const bench::TemporaryFolder folder;
  auto db = sqlite::Database::open({.path = folder.file("journal.db")}).value();
  db.execute(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE records(id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL,"
        " type TEXT NOT NULL, meta BLOB NOT NULL, payload BLOB NOT NULL)",
        "setting up")
      .value();
  auto begin = db.prepare("BEGIN IMMEDIATE").value(), commit = db.prepare("COMMIT").value();
  auto insert = db.prepare("INSERT INTO records(stream, version, type, meta, payload) VALUES(?, ?, ?, ?, ?)").value();
  const std::string meta(19, 'm'), payload(payload_bytes, 'x');
  return bench::seconds_of([&] {
    for (std::size_t done = 0; done < total; done += rows_per_commit) {
      begin.run("bench").value();
      for (std::size_t i = 0; i < rows_per_commit; ++i)
        insert.run("bench", i, done, std::string_view("saga"), sqlite::Blob{meta}, sqlite::Blob{payload}).value();
      commit.run("bench").value();
    }
  });
}

double memory_seconds(std::size_t total) {
  boost::asio::io_context context(1);
  MemoryJournal journal(context.get_executor());
  return Callers(journal, context).run(256, total);
}

}  // namespace

int main(int argc, char** argv) {
  using bench::Better;
  bench::Suite suite(argc, argv);
  const std::size_t single = suite.quick() ? 300 : 2'000, many = suite.quick() ? 25'600 : 102'400;
  const auto per_second = [&](double seconds) { return static_cast<double>(many) / seconds; };
  suite.compare(
      {.name = "sqlite_journal/commit/1", .unit = "us", .better = Better::lower},
      [&] { return sqlite_seconds(1, single) / static_cast<double>(single) * 1e6; }, "bare FULL commit of the row",
      [&] { return bare_seconds(1, single) / static_cast<double>(single) * 1e6; });
  suite.compare(
      {.name = "sqlite_journal/commit/256", .unit = "rows/s", .better = Better::higher},
      [&] { return per_second(sqlite_seconds(256, many)); }, "bare commits of 100 rows",
      [&] { return per_second(bare_seconds(100, many)); });
  suite.compare(
      {.name = "sqlite_journal/commit/256/full_groups", .unit = "rows/s", .better = Better::higher},
      [&] { return per_second(sqlite_seconds(256, many)); }, "bare commits of 256 rows",
      [&] { return per_second(bare_seconds(256, many)); });
  const std::size_t in_memory = suite.quick() ? 200'000 : 1'000'000;
  suite.measure({.name = "memory_journal/commit", .unit = "rows/s", .better = Better::higher},
                [&] { return static_cast<double>(in_memory) / memory_seconds(in_memory); });
  return suite.finish();
}
