// SqliteJournal on disks that fail, fill up, lose power, or hold what it did not write.
#include "journal_host.hpp"
#include "support/journal_driver.hpp"
#include "support/seeds.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace aura;        // NOLINT: a test
using namespace aura::test;  // NOLINT

using Driven = JournalDriver<SqliteHost>;

sqlite::Database raw(SqliteHost& host) {
  return sqlite::Database::open({.path = "app.db", .vfs = host.vfs.name()}).value();
}

/// Round after round, each a group of batches: each batch appends its number to two of four streams.
class PairedWork {
 public:
  static constexpr int rounds = 5, batches = 3;

  explicit PairedWork(SqliteHost& host) : host_(host) {}

  void run() {
    for (int round = 0; round < rounds; ++round) {
      for (int i = 0; i < batches; ++i) begin(round * batches + i);
      host_.world.run();
    }
  }

  /// Empty where every batch that was acknowledged is there, once and in both streams, and no half of any.
  std::string fault() {
    std::map<std::string, int> seen;  // by batch: in how many streams
    for (const char* name : {"left", "right"}) {
      std::optional<Result<std::vector<Record>>> records;
      host_.journal().read(name, 0, 1000, [&](Result<std::vector<Record>> result) { records = std::move(result); });
      host_.world.run();
      if (!records || !*records) return "unreadable: " + (records ? to_string(records->error()) : "no answer");
      std::set<std::string> once;
      for (const Record& each : **records) {
        if (!once.insert(each.payload).second) return "batch " + each.payload + " is there twice";
        ++seen[each.payload];
      }
    }
    for (const auto& [batch, count] : seen)
      if (count != 2) return "half of batch " + batch;
    for (const std::string& batch : acknowledged)
      if (!seen.contains(batch)) return "lost batch " + batch;
    return "";
  }

  std::vector<std::string> acknowledged;
  std::vector<Error> errors;

 private:
  void begin(int number) {
    Batch batch;
    for (const char* name : {"left", "right"}) {
      const std::string payload = std::to_string(number);
      if (version_ == 0)
        batch.appends.push_back(birth(name, {record(payload)}));
      else
        batch.appends.push_back(append(name, version_, {record(payload)}));
      batch.appends.back().index =
          StreamIndex{"running", true, WallTime(Duration(number)), Attributes{{"n", payload}}};
    }
    ++version_;
    host_.journal().commit(std::move(batch), [this, number](const Result<void>& result) {
      if (result)
        acknowledged.push_back(std::to_string(number));
      else
        errors.push_back(result.error());
    });
  }

  SqliteHost& host_;
  std::uint64_t version_ = 0;
};

/// One run that meets `fault` at `operation` of the disk; empty where all is well. False in `reached` past the last.
std::string run_with_fault(std::uint64_t seed, std::uint64_t operation, sim::DiskFault fault, bool& reached) {
  SqliteHost host(seed * 1'000'003 + operation);
  host.close();
  host.open({.checkpoint_pages = 8}).value();  // so that it fails while the log goes into the database, too
  sqlite::seed_randomness(static_cast<int>(seed));
  const std::uint64_t before = host.disk.operations();
  PairedWork work(host);
  host.disk.inject(before + operation, fault);
  work.run();
  reached = host.disk.operations() >= before + operation;
  host.disk.inject(0, sim::DiskFault::none);
  if (fault == sim::DiskFault::power_loss) {
    host.close();
    host.disk.restart();
    if (const auto opened = host.open(); !opened) return "does not open: " + to_string(opened.error());
  }
  if (const std::string wrong = work.fault(); !wrong.empty()) return wrong;
  const std::string sound = [&] {
    std::string word;
    auto check = raw(host).prepare("PRAGMA integrity_check").value();
    check
        .each("testing",
              [&](sqlite::Row row) {
                word = row.text(0);
                return false;
              })
        .value();
    return word;
  }();
  if (sound != "ok") return "integrity_check: " + sound;
  bool goes_on = false;
  host.journal().commit({{birth("later", {record("1")})}, {}},
                        [&](const Result<void>& result) { goes_on = result.has_value(); });
  host.world.run();
  return goes_on ? "" : "does not go on";
}

void require_no_fault(sim::DiskFault fault, std::uint64_t seed) {
  std::uint64_t operation = 1;
  for (bool reached = true; reached; ++operation) {
    const std::string wrong = run_with_fault(seed, operation, fault, reached);
    INFO("operation " << operation << ": " << wrong);
    REQUIRE(wrong.empty());
  }
  REQUIRE(operation > 40);
}

}  // namespace

TEST_CASE("power lost at any operation of the disk: acknowledged batches are all there, and no half of one") {
  for_each_seed("sqlite", "power lost at any operation of the disk*", 10,
                [](std::uint64_t seed) { require_no_fault(sim::DiskFault::power_loss, seed); });
}

TEST_CASE("an error of the disk at any operation is told to the callers, and the journal goes on") {
  for_each_seed("sqlite", "an error of the disk at any operation*", 4, [](std::uint64_t seed) {
    require_no_fault(sim::DiskFault::io, seed);
    require_no_fault(sim::DiskFault::full, seed);
  });
}

TEST_CASE("where a sync fails everyone of the group is told, and nobody of the next") {
  SqliteHost host;
  PairedWork work(host);
  bool failing = true;
  host.disk.on_operation([&](const sim::DiskOperation& operation) {
    return failing && operation.verb == sim::DiskVerb::sync ? sim::DiskFault::io : sim::DiskFault::none;
  });
  int failed = 0, taken = 0;
  const auto count = [&](const Result<void>& result) {
    if (result) {
      ++taken;
      return;
    }
    ++failed;
    REQUIRE(result.error().is(journal_errc::io));
    REQUIRE(result.error().error_class() == ErrorClass::transient);
    REQUIRE(result.error().message().find("app.db") != std::string_view::npos);
  };
  // One is refused, because of what another of its group wrote: that is undone, so it is told of the failure instead.
  for (const char* name : {"a", "b", "a"}) host.journal().commit({{birth(name, {record("1")})}, {}}, count);
  host.world.run();
  REQUIRE(failed == 3);
  failing = false;
  for (const char* name : {"a", "b"}) host.journal().commit({{birth(name, {record("1")})}, {}}, count);
  host.world.run();
  REQUIRE(taken == 2);
  host.disk.on_operation({});
}

TEST_CASE("a full disk refuses, loses nothing, and is served again once there is room") {
  Driven log;
  auto& disk = log.host.disk;
  REQUIRE(ok(log.commit({birth("s", {record("1")})})));
  disk.set_bytes_max(disk.bytes_used() + 50'000);
  int full = 0;
  std::uint64_t version = 1;
  for (int i = 0; i < 40; ++i) {
    const auto result = log.commit({append("s", version, {record(std::string(5000, 'x'))})});
    if (result) {
      ++version;
      continue;
    }
    ++full;
    REQUIRE(result.error().is(journal_errc::full));
    REQUIRE(result.error().error_class() == ErrorClass::transient);
    REQUIRE(result.error().message().find("app.db: ") == 0);
  }
  REQUIRE(version > 2);
  REQUIRE(full > 10);
  REQUIRE(log.read("s", 0, 100)->size() == version);
  disk.set_bytes_max(std::uint64_t{1} << 30);
  REQUIRE(ok(log.commit({append("s", version, {record("last")})})));
  REQUIRE(log.read("s", 0, 100)->size() == version + 1);
}

TEST_CASE("a format of a later version is refused, and the file is left as it is") {
  SqliteHost host;
  raw(host).execute("PRAGMA user_version=2", "testing").value();
  host.close();
  const std::string before = host.disk.bytes("app.db");
  const Error error = host.open().error();
  REQUIRE(error.is(journal_errc::newer_format));
  REQUIRE(error.error_class() == ErrorClass::permanent);
  REQUIRE(error.message() == "app.db has journal format 2, and this version of aura reads formats up to 1");
  REQUIRE((host.disk.bytes("app.db") == before));
}

TEST_CASE("another program's database is refused, and left as it is") {
  for (const char* mark : {"PRAGMA application_id=7", "PRAGMA application_id=0; PRAGMA user_version=3"}) {
    SqliteHost host;
    raw(host).execute(mark, "testing").value();
    host.close();
    const std::string before = host.disk.bytes("app.db");
    const Error error = host.open().error();
    REQUIRE(error.is(journal_errc::corrupt));
    REQUIRE(error.message().find("app.db belongs to another program") == 0);
    REQUIRE((host.disk.bytes("app.db") == before));
  }
}

TEST_CASE("a file that is no database is refused, and left as it is") {
  SqliteHost host;
  host.close();
  const std::string text(10'000, 'x');
  host.disk.replace("app.db", text);
  const Error error = host.open().error();
  REQUIRE(error.is(journal_errc::corrupt));
  REQUIRE(error.message() == "app.db: reading the file's header: file is not a database");
  REQUIRE((host.disk.bytes("app.db") == text));
}

TEST_CASE("tables of the host are kept, in a database that was there before the journal too") {
  SqliteHost host;
  host.close();
  host.disk.replace("app.db", "");
  raw(host).execute("CREATE TABLE mine(x); INSERT INTO mine VALUES(7)", "testing").value();
  REQUIRE(ok(host.open()));
  REQUIRE(raw(host).integer("SELECT x FROM mine", "testing").value() == 7);
}

TEST_CASE("flipped bytes give an error that names the file, or are not of ours, and never a wrong record") {
  std::set<std::string> words;
  int found = 0, unharmed = 0;
  Random dice(11);
  for (std::uint64_t round = 0; round < 200; ++round) {
    Driven log;
    std::vector<Record> written;
    for (int i = 0; i < 8; ++i) written.push_back(record(std::string(700, static_cast<char>('a' + i))));
    REQUIRE(ok(log.commit({birth("s", written)})));
    log.host.close();
    std::string bytes = log.host.disk.bytes("app.db");
    for (int i = 0; i < 3; ++i) bytes[dice.below(bytes.size())] ^= static_cast<char>(1 + dice.below(255));
    log.host.disk.replace("app.db", bytes);

    const auto opened = log.host.open();
    const auto records = opened ? log.read("s", 0, 100) : Result<std::vector<Record>>(opened.error());
    if (records) {
      // A stream whose name or index was hit may not be found; what is found is what was written.
      REQUIRE((records->empty() || *records == written));
      ++unharmed;
    } else {
      ++found;
      words.insert(std::string(records.error().message()));
      const bool clear = records.error().message().find("app.db") == 0 && !records.error().is(journal_errc::locked);
      INFO(to_string(records.error()));
      REQUIRE(clear);
      REQUIRE(records.error().message().find('\n') == std::string_view::npos);
    }
  }
  REQUIRE(found > 10);
  REQUIRE(unharmed > 10);
  const bool checksum = std::any_of(words.begin(), words.end(), [](const std::string& word) {
    return word.find("of stream \"s\" is not what was written") != std::string::npos;
  });
  REQUIRE(checksum);
}

TEST_CASE("a thorough look at opening finds an index that no longer fits its table") {
  SqliteHost host;
  PairedWork work(host);
  work.run();
  REQUIRE(ok(host.open({.check_on_open = true})));
  sqlite::Database db = raw(host);
  db.execute(
        "PRAGMA writable_schema=ON; DELETE FROM sqlite_master WHERE name='aura_journal_by_name';"
        "PRAGMA writable_schema=RESET; UPDATE aura_journal_streams SET name = 'lost' WHERE name = 'left'",
        "testing")
      .value();
  db.execute(
        "PRAGMA writable_schema=ON; INSERT INTO sqlite_master SELECT 'index', 'aura_journal_by_name',"
        " 'aura_journal_streams', 3, 'CREATE UNIQUE INDEX aura_journal_by_name ON aura_journal_streams(name)';"
        "PRAGMA writable_schema=RESET",
        "testing")
      .value();
  const Error error = host.open({.check_on_open = true}).error();
  REQUIRE(error.is(journal_errc::corrupt));
  REQUIRE(error.message().find("app.db: it is damaged (") == 0);
}

TEST_CASE("a record in the wrong place is not taken for the right one") {
  Driven log;
  REQUIRE(
      ok(log.commit({birth("a", {record("1"), record("2"), record("3")}), birth("b", {record("1"), record("2")})})));
  const auto damaged = [&](const char* sql, const std::string& stream, std::uint64_t from) {
    raw(log.host).execute(sql, "testing").value();
    return refused(log.read(stream, from, 9), journal_errc::corrupt);
  };
  REQUIRE(
      damaged("UPDATE aura_journal_records SET version = version + 10 WHERE stream = 2;"
              "UPDATE aura_journal_records SET version = 11 - version WHERE stream = 2",
              "b", 0));
  REQUIRE(damaged("UPDATE aura_journal_records SET meta = x'00' WHERE stream = 2 AND version = 1", "b", 1));
  REQUIRE(damaged("DELETE FROM aura_journal_records WHERE stream = 1 AND version = 1", "a", 1));
  raw(log.host).execute("DELETE FROM aura_journal_records WHERE stream = 2", "testing").value();
  REQUIRE(refused(log.head("b"), journal_errc::corrupt));
  REQUIRE(refused(log.find({.kind = "saga"}), journal_errc::corrupt));
}

TEST_CASE("every query is answered from an index") {
  SqliteHost host;
  sqlite::Database db = raw(host);
  const auto plan_of = [&](const sqlite::detail::FindPlan& plan) {
    std::string steps;
    auto explained = db.prepare("EXPLAIN QUERY PLAN " + plan.sql).value();
    explained.each("testing", [&](sqlite::Row row) { return steps.append(row.text(3)).append("; "), true; }).value();
    return steps;
  };
  const auto indexed = [&](const sqlite::detail::FindPlan& plan) {
    const std::string steps = plan_of(plan);
    INFO(plan.sql << " -> " << steps);
    CHECK(steps.find("SCAN") == std::string::npos);
    CHECK(steps.find("TEMP B-TREE") == std::string::npos);
    return steps.find("SEARCH") == 0;
  };
  StreamQuery query{
      .kind = "saga",
  };
  const aura::detail::PageCursor after{7, WallTime(Duration(9))};
  REQUIRE(indexed(sqlite::detail::state_plan(query, true, "running", after, 9)));
  query.attributes = {{"a", "1"}, {"b", "2"}};
  query.state = "stuck";
  query.open = true;
  REQUIRE(indexed(sqlite::detail::attribute_plan(query, after, 9)));
  query.due_before = WallTime();
  REQUIRE(indexed(sqlite::detail::due_plan(query, after, 9)));
}

TEST_CASE("two journals on one file see each other's commits, and fence each other off") {
  Driven one;
  sqlite::SqliteJournalOptions options{.path = "app.db", .vfs = one.host.vfs.name()};
  auto two = sqlite::SqliteJournal::open(one.host.world, options).value();
  const auto commit = [&](sqlite::SqliteJournal& journal, Append part) {
    std::optional<Result<void>> result;
    journal.commit({{std::move(part)}, {}}, [&](Result<void> done) { result = std::move(done); });
    one.host.world.run();
    return *result;
  };
  REQUIRE(ok(one.commit({birth("s", {record("1")})})));
  REQUIRE(ok(commit(*two, append("s", 1, {record("2")}))));
  // What the first one remembers of the stream is out of date now.
  REQUIRE(refused(one.commit({append("s", 1, {record("2")})}), journal_errc::version_conflict));
  REQUIRE(ok(one.commit({append("s", 2, {record("3")})})));

  const Lease lease = one.acquire(HolderId("two"), 100, 0).value();
  std::optional<std::vector<ClaimedStream>> claimed;
  two->claim(lease, {"s"}, WallTime(), [&](auto result) { claimed = result.value(); });
  one.host.world.run();
  REQUIRE(claimed->size() == 1);
  REQUIRE(refused(one.commit({append("s", 3, {record("4")})}), journal_errc::fenced));
  Append rightful = append("s", 3, {record("4")});
  rightful.token = claimed->front().token;
  REQUIRE(ok(commit(*two, rightful)));
  two.reset();
  one.host.world.run();
}

TEST_CASE("a limit on open streams of a kind counts those of another process") {
  Driven one;
  auto two = sqlite::SqliteJournal::open(one.host.world, {.path = "app.db", .vfs = one.host.vfs.name()}).value();
  const auto limited = [](const std::string& name) {
    Append begun = birth(name, {record("1")});
    begun.birth->open_of_kind_max = 2;
    return begun;
  };
  REQUIRE(ok(one.commit({limited("a")})));
  two->commit({{limited("b")}, {}}, [](const Result<void>& result) { REQUIRE(ok(result)); });
  one.host.world.run();
  REQUIRE(refused(one.commit({limited("c")}), journal_errc::kind_full));
  two.reset();
  one.host.world.run();
}

TEST_CASE("a database that another process writes to is waited for, and then an error says so") {
  Driven log;
  sqlite::Database other = raw(log.host);
  REQUIRE(ok(other.execute("BEGIN IMMEDIATE", "testing")));
  const Error locked = log.commit({birth("s", {record("1")})}).error();
  REQUIRE(locked.is(journal_errc::locked));
  REQUIRE(locked.error_class() == ErrorClass::transient);
  REQUIRE(locked.message().find("app.db: beginning a transaction: another process holds the database") == 0);
  REQUIRE(ok(log.read("s", 0, 1)));
  REQUIRE(ok(other.execute("ROLLBACK", "testing")));
  REQUIRE(ok(log.commit({birth("s", {record("1")})})));
}

TEST_CASE("what is remembered of streams is bounded, and its loss goes unnoticed") {
  Driven log;
  REQUIRE(ok(log.host.open({.heads_cached_max = 4})));
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 20; ++i) {
      const std::string name = "s" + std::to_string(i);
      REQUIRE(ok(log.commit({round == 0 ? birth(name, {record("1")})
                                        : append(name, static_cast<std::uint64_t>(round), {record("2")})})));
    }
  REQUIRE(log.read("s7", 0, 9)->size() == 3);
}
