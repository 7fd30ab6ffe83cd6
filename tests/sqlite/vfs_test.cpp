#include "support/catch.hpp"

#include <aura/sim/disk.hpp>
#include <aura/sqlite/vfs.hpp>

#include <sqlite3.h>

#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using aura::Random;
using aura::sim::Disk;
using aura::sim::DiskFault;
using aura::sim::DiskGeometry;
using aura::sim::Survival;
using aura::sqlite::Vfs;

static_assert(aura::sqlite::disk<Disk>);
struct NoDisk {
  using File = int;
};
static_assert(!aura::sqlite::disk<NoDisk>);

/// A bare connection: what is under test is SQLite on the VFS, not our own wrappers.
class Connection {
 public:
  explicit Connection(const Vfs<Disk>& vfs, const char* name = "app.db") {
    status_ = sqlite3_open_v2(name, &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs.name().c_str());
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { sqlite3_close(db_); }

  int run(const std::string& sql) {
    rows_.clear();
    if (status_ != SQLITE_OK) return status_;
    const auto row = [](void* rows, int columns, char** values, char**) {
      for (int i = 0; i < columns; ++i)
        static_cast<std::vector<std::string>*>(rows)->emplace_back(values[i] != nullptr ? values[i] : "null");
      return 0;
    };
    return sqlite3_exec(db_, sql.c_str(), row, &rows_, nullptr);
  }
  std::vector<std::string> rows(const std::string& sql) {
    const int status = run(sql);
    if (status != SQLITE_OK) return {std::string("error: ") + sqlite3_errstr(status)};
    return rows_;
  }
  std::string value(const std::string& sql) {
    const std::vector<std::string> all = rows(sql);
    return all.empty() ? "nothing" : all.front();
  }
  int extended() { return sqlite3_extended_errcode(db_); }

 private:
  sqlite3* db_ = nullptr;
  int status_ = SQLITE_OK;
  std::vector<std::string> rows_;
};

struct Workload {
  std::string pragmas{};
  int transactions = 7;
};

/// Runs the workload until it is through or fails; returns how many transactions were acknowledged, -1 for none and
/// no table either. The transaction n updates rows of earlier ones, inserts three rows, and fills several pages.
int run_workload(Connection& connection, const Workload& workload) {
  if (connection.run(workload.pragmas) != SQLITE_OK) return -1;
  if (connection.run("create table if not exists t (tx int, part int, body blob, primary key (tx, part))") !=
      SQLITE_OK)
    return -1;
  for (int n = 1; n <= workload.transactions; ++n) {
    const std::string tx = std::to_string(n);
    std::string sql = "begin immediate;";
    for (const char* part : {"1", "2", "3"})
      sql +=
          "insert into t values (" + tx + "," + part + ", randomblob(" + std::to_string(n % 3 * 1500 + 100) + "));";
    sql += "update t set body = randomblob(300) where tx = " + tx + " - 2; commit";
    if (connection.run(sql) != SQLITE_OK) return n - 1;
  }
  return workload.transactions;
}

/// Empty where the database holds whole transactions, every acknowledged one and at most the next.
std::string fault_after_restart(const Vfs<Disk>& vfs, int acknowledged) {
  Connection connection(vfs);
  const std::string integrity = connection.value("pragma integrity_check");
  if (integrity != "ok") return "integrity_check: " + integrity;
  if (connection.value("select count(*) from sqlite_master where name = 't'") != "1")
    return acknowledged < 0 ? "" : "the table is gone";
  const int found = std::atoi(connection.value("select ifnull(max(tx), 0) from t").c_str());
  if (found < acknowledged) return "lost transaction " + std::to_string(found + 1);
  if (found > acknowledged + 1) return "a transaction that nobody began";
  if (connection.value("select count(*) from t") != std::to_string(found * 3)) return "a transaction in part";
  if (connection.run("insert into t values (1000, 1, 'x')") != SQLITE_OK) return "not writable";
  return "";
}

struct Verdict {
  int crashes = 0;
  std::set<std::string> faults;
};

/// Recovers, and loses power again in the middle of that, at an operation the dice choose.
void crash_in_recovery(const Vfs<Disk>& vfs, Disk& disk, Random& dice) {
  disk.inject(disk.operations() + 1 + dice.below(8), DiskFault::power_loss);
  {
    Connection connection(vfs);
    connection.run("select count(*) from t; pragma wal_checkpoint(restart)");
  }
  disk.restart();
  disk.inject(0, DiskFault::none);
}

/// Power loss at every operation of the disk, for every seed of what survives, and in every other seed once more
/// while the database recovers.
Verdict crash_everywhere(const Workload& workload, const DiskGeometry& geometry, std::uint64_t seeds) {
  Verdict verdict;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    bool crashed = true;
    for (std::uint64_t operation = 1; crashed; ++operation) {
      Disk disk(Random(seed * 1'000'003 + operation), {.geometry = geometry});
      Vfs vfs(disk);
      aura::sqlite::seed_randomness(static_cast<int>(seed));
      disk.inject(operation, DiskFault::power_loss);
      int acknowledged = -1;
      {
        Connection connection(vfs);
        acknowledged = run_workload(connection, workload);
      }
      crashed = !disk.powered();
      disk.inject(0, DiskFault::none);
      disk.restart();
      Random dice(seed * 7919 + operation);
      if (seed % 2 == 0) crash_in_recovery(vfs, disk, dice);
      ++verdict.crashes;
      const std::string fault = fault_after_restart(vfs, acknowledged);
      if (!fault.empty())
        verdict.faults.insert("seed " + std::to_string(seed) + ", operation " + std::to_string(operation) + ": " +
                              fault);
    }
  }
  return verdict;
}

std::uint64_t seed_count(std::uint64_t in_ci) {
  const char* asked = std::getenv("AURA_SEEDS");
  return asked != nullptr ? static_cast<std::uint64_t>(std::strtoull(asked, nullptr, 10)) : in_ci;
}

// A checkpoint every few pages, so that power also goes while it copies and while the log begins anew.
const Workload wal_full{.pragmas =
                            "pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 8"};

void require_no_fault(const Workload& workload, const DiskGeometry& geometry) {
  const Verdict verdict = crash_everywhere(workload, geometry, seed_count(6));
  INFO("AURA_SEEDS=n runs more seeds");
  INFO((verdict.faults.empty() ? std::string() : *verdict.faults.begin()));
  CHECK(verdict.faults.empty());
  CHECK(verdict.crashes > 200);
}

}  // namespace

TEST_CASE("in WAL mode a power loss at any operation loses no acknowledged transaction") {
  require_no_fault(wal_full, {});
}

TEST_CASE("the same on a device that tears sectors and harms their neighbours") {
  require_no_fault(wal_full, {.atomic_sectors = false, .powersafe_overwrite = false});
  require_no_fault(wal_full, {.sector_bytes = 4096, .atomic_sectors = false, .powersafe_overwrite = false});
}

TEST_CASE("in rollback mode, too, with the directory synced after each commit") {
  require_no_fault({.pragmas = "pragma synchronous = extra"}, {});
}

TEST_CASE("the crash test can fail: without syncs it finds lost transactions and corruption") {
  const Verdict verdict = crash_everywhere(
      {.pragmas = "pragma journal_mode = wal; pragma synchronous = off; pragma wal_autocheckpoint = 8"}, {}, 3);
  std::set<std::string> kinds;
  for (const std::string& fault : verdict.faults) kinds.insert(fault.substr(fault.find(": ") + 2, 4));
  CHECK(kinds.contains("lost"));
  CHECK(kinds.contains("inte"));
}

TEST_CASE("a seed of SQLite's randomness writes the same bytes again") {
  const auto run = [] {
    Disk disk;
    Vfs vfs(disk);
    aura::sqlite::seed_randomness(5);
    Connection connection(vfs);
    run_workload(connection, wal_full);
    return disk.bytes("app.db") + disk.bytes("app.db-wal");
  };
  const std::string first = run();
  REQUIRE(first.size() > 8192);
  REQUIRE((run() == first));
}

TEST_CASE("an error at any operation is reported, and an acknowledged transaction stays") {
  for (const DiskFault fault : {DiskFault::io, DiskFault::full}) {
    bool reached = true;
    for (std::uint64_t operation = 1; reached; ++operation) {
      Disk disk{Random(operation)};
      Vfs vfs(disk, {});
      disk.inject(operation, fault);
      int acknowledged = -1;
      {
        Connection connection(vfs);
        acknowledged = run_workload(connection, wal_full);
      }
      reached = disk.operations() >= operation;
      disk.inject(0, fault);
      INFO("operation " << operation << ", fault " << int(fault));
      Connection connection(vfs);
      REQUIRE(connection.value("pragma integrity_check") == "ok");
      if (acknowledged > 0) {
        const int found = std::atoi(connection.value("select max(tx) from t").c_str());
        REQUIRE(found >= acknowledged);
        REQUIRE(found <= acknowledged + 1);
      }
    }
  }
}

TEST_CASE("a full disk refuses the transaction with SQLITE_FULL, and takes it once there is room") {
  Disk disk(Random(1), {.bytes_max = 60'000});
  Vfs vfs(disk);
  Connection connection(vfs);
  const int before = run_workload(
      connection, {.pragmas = "pragma journal_mode = wal; pragma synchronous = full", .transactions = 1});
  REQUIRE(before == 1);
  REQUIRE(connection.run("insert into t values (2, 1, zeroblob(60000))") == SQLITE_FULL);
  REQUIRE(connection.value("select count(*) from t") == "3");
  REQUIRE(connection.run("insert into t values (2, 1, 'small')") == SQLITE_OK);
  disk.set_bytes_max(400'000);
  REQUIRE(connection.run("insert into t values (3, 1, zeroblob(60000))") == SQLITE_OK);
  REQUIRE(connection.value("select count(*) from t") == "5");
  REQUIRE(connection.value("pragma integrity_check") == "ok");
}

TEST_CASE("failures have SQLite's own codes") {
  Disk disk;
  Vfs vfs(disk);
  Connection connection(vfs);
  REQUIRE(run_workload(connection,
                       {.pragmas = "pragma journal_mode = wal; pragma synchronous = full", .transactions = 1}) == 1);
  disk.inject(disk.operations() + 1, DiskFault::io);
  REQUIRE(connection.run("insert into t values (9, 1, 'x')") == SQLITE_IOERR);
  REQUIRE(connection.extended() == SQLITE_IOERR_WRITE);

  disk.on_operation([](const aura::sim::DiskOperation& operation) {
    return operation.verb == aura::sim::DiskVerb::sync ? DiskFault::io : DiskFault::none;
  });
  REQUIRE(connection.run("insert into t values (9, 1, 'x')") == SQLITE_IOERR);
  REQUIRE(connection.extended() == SQLITE_IOERR_FSYNC);

  disk.on_operation({});
  disk.lose_power();
  Connection late(vfs);
  REQUIRE(late.run("select 1") == SQLITE_CANTOPEN);
}

TEST_CASE("a read beyond the end says so, and gives zeros") {
  Disk disk;
  Vfs vfs(disk);
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open_v2("app.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs.name().c_str()) ==
          SQLITE_OK);
  REQUIRE(sqlite3_exec(db, "create table t (x)", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_file* file = nullptr;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  const std::string bytes = disk.bytes("app.db");
  std::string into(10, '?');
  const auto end = static_cast<sqlite3_int64>(bytes.size());
  REQUIRE(file->pMethods->xRead(file, into.data(), 10, end - 4) == SQLITE_IOERR_SHORT_READ);
  REQUIRE(into == bytes.substr(bytes.size() - 4) + std::string(6, '\0'));
  REQUIRE(file->pMethods->xRead(file, into.data(), 10, end - 10) == SQLITE_OK);
  sqlite3_close(db);
}

TEST_CASE("connections share a database: readers see the snapshot they began with, a second writer waits") {
  for (const std::string mode : {"wal", "delete"}) {
    Disk disk;
    Vfs vfs(disk);
    Connection writer(vfs), reader(vfs), rival(vfs);
    REQUIRE(writer.run("pragma journal_mode = " + mode) == SQLITE_OK);
    REQUIRE(writer.run("create table t (x); insert into t values (1)") == SQLITE_OK);
    REQUIRE(reader.run("begin; select * from t") == SQLITE_OK);
    REQUIRE(writer.run("begin immediate; insert into t values (2)") == SQLITE_OK);
    REQUIRE(rival.run("begin immediate") == SQLITE_BUSY);
    REQUIRE(reader.value("select count(*) from t") == "1");
    if (mode == "wal") {
      REQUIRE(writer.run("commit") == SQLITE_OK);
      REQUIRE(reader.value("select count(*) from t") == "1");
      REQUIRE(reader.run("commit") == SQLITE_OK);
    } else {
      REQUIRE(writer.run("commit") == SQLITE_BUSY);  // the reader is in the way,
      REQUIRE(rival.run("select * from t") == SQLITE_BUSY);  // and no new one comes in
      REQUIRE(reader.run("commit") == SQLITE_OK);
      REQUIRE(writer.run("commit") == SQLITE_OK);
    }
    REQUIRE(reader.value("select count(*) from t") == "2");
    REQUIRE(rival.run("begin immediate; insert into t values (3); commit") == SQLITE_OK);
    REQUIRE(writer.value("select count(*) from t") == "3");
  }
}

TEST_CASE("a checkpoint waits for a reader of the old log") {
  Disk disk;
  Vfs vfs(disk);
  Connection writer(vfs), reader(vfs);
  REQUIRE(writer.run("pragma journal_mode = wal; create table t (x); insert into t values (1)") == SQLITE_OK);
  REQUIRE(reader.run("begin; select * from t") == SQLITE_OK);
  REQUIRE(writer.run("insert into t values (2)") == SQLITE_OK);
  REQUIRE(writer.rows("pragma wal_checkpoint(truncate)").front() == "1");  // busy
  REQUIRE(reader.value("select count(*) from t") == "1");
  REQUIRE(reader.run("commit") == SQLITE_OK);
  REQUIRE(writer.rows("pragma wal_checkpoint(truncate)").front() == "0");
  REQUIRE(reader.value("select count(*) from t") == "2");
}

TEST_CASE("a connection of before a power loss can do no harm after it") {
  Disk disk;
  Vfs vfs(disk);
  auto old = std::make_unique<Connection>(vfs);
  REQUIRE(run_workload(*old, wal_full) == wal_full.transactions);
  REQUIRE(old->rows("pragma wal_checkpoint(truncate)").front() == "0");
  REQUIRE(old->run("begin immediate; insert into t values (50, 1, 'x')") == SQLITE_OK);  // and holds its locks
  disk.lose_power();
  disk.restart();

  Connection after(vfs);
  REQUIRE(after.run("insert into t values (100, 1, 'x')") == SQLITE_OK);
  REQUIRE(old->run("commit") != SQLITE_OK);
  old.reset();
  REQUIRE(disk.exists("app.db-wal").value());
  REQUIRE(after.run("insert into t values (101, 1, 'x')") == SQLITE_OK);
  Connection another(vfs);
  REQUIRE(another.value("select count(*) from t where tx >= 50") == "2");
  REQUIRE(another.value("pragma integrity_check") == "ok");
}

TEST_CASE("time and sleep are the host's") {
  Disk disk;
  aura::Duration slept{};
  aura::WallTime now{std::chrono::seconds(1'767'225'600)};
  Vfs vfs(disk, {.wall_now = [&] { return now; }, .sleep = [&](aura::Duration span) { slept += span; }});
  Connection one(vfs), two(vfs);
  REQUIRE(one.value("select strftime('%Y-%m-%d %H:%M:%f', 'now')") == "2026-01-01 00:00:00.000");
  now += std::chrono::milliseconds(1500);
  REQUIRE(one.value("select strftime('%Y-%m-%d %H:%M:%f', 'now')") == "2026-01-01 00:00:01.500");
  REQUIRE(one.run("create table t (x); begin immediate") == SQLITE_OK);
  REQUIRE(two.run("pragma busy_timeout = 10000; begin immediate") == SQLITE_BUSY);
  REQUIRE(slept > std::chrono::seconds(5));
}

TEST_CASE("a VFS has a name of its own for as long as it lives") {
  std::string name;
  {
    Disk disk;
    Vfs vfs(disk), other(disk), named(disk, {.name = "mine"});
    name = vfs.name();
    REQUIRE(other.name() != name);
    REQUIRE(sqlite3_vfs_find(name.c_str()) != nullptr);
    REQUIRE(sqlite3_vfs_find("mine") != nullptr);
    REQUIRE(sqlite3_vfs_find(nullptr) != sqlite3_vfs_find(name.c_str()));
  }
  REQUIRE(sqlite3_vfs_find(name.c_str()) == nullptr);
  REQUIRE(sqlite3_vfs_find("mine") == nullptr);
}

TEST_CASE("temporary files leave nothing behind") {
  Disk disk;
  Vfs vfs(disk);
  {
    Connection connection(vfs);
    REQUIRE(connection.run("pragma temp_store = file; pragma temp.cache_size = 5; create temp table big (x);"
                           "with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)"
                           "insert into big select randomblob(1000) from n; select * from big order by x") ==
            SQLITE_OK);
    REQUIRE(disk.bytes_used() > 100'000);
  }
  REQUIRE(disk.bytes_used() == 0);
}
