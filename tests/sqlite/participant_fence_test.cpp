#include "support/catch.hpp"

#include <aura/sim/disk.hpp>
#include <aura/sqlite/participant_fence.hpp>
#include <aura/sqlite/vfs.hpp>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace aura;
using sqlite::Database;
using sqlite::fence_errc;
using sqlite::FenceKey;
using sqlite::ParticipantFence;

/// A service that charges: its ledger counts what took effect, in the same transaction as the fence.
struct Ledger {
  Database db;
  std::unique_ptr<ParticipantFence> fence;

  Ledger() : Ledger(Database::open({.path = ":memory:"}).value()) {}
  explicit Ledger(Database open) : db(std::move(open)) {
    db.execute("CREATE TABLE IF NOT EXISTS ledger(charged INTEGER, refunded INTEGER)", "test").value();
    if (number("SELECT count(*) FROM ledger") == 0) db.execute("INSERT INTO ledger VALUES(0, 0)", "test").value();
    restart();
  }

  void restart() { fence = std::make_unique<ParticipantFence>(db.handle()); }

  Result<std::string> charge(const FenceKey& key, bool fails = false) {
    return fence->action(key, [&]() -> Result<std::string> {
      db.execute("UPDATE ledger SET charged = charged + 1", "test").value();
      if (fails) return Error("ledger", 1, ErrorClass::transient, "no answer from the bank");
      return "receipt " + std::to_string(charged());
    });
  }
  Result<void> refund(const FenceKey& key, bool fails = false) {
    return fence->compensation(key, [&]() -> Result<void> {
      db.execute("UPDATE ledger SET refunded = refunded + 1", "test").value();
      if (fails) return Error("ledger", 1, ErrorClass::transient, "no answer from the bank");
      return {};
    });
  }

  std::int64_t number(const char* sql) { return db.integer(sql, "test").value(); }
  std::int64_t charged() { return number("SELECT charged FROM ledger"); }
  std::int64_t refunded() { return number("SELECT refunded FROM ledger"); }
};

enum class Delivery { charge, failing_charge, refund, failing_refund, restart };

std::vector<Delivery> sequence_of(unsigned number, int length) {
  std::vector<Delivery> sequence;
  for (int i = 0; i < length; ++i, number /= 5) sequence.push_back(Delivery(number % 5));
  return sequence;
}

/// What must be: at most one charge, at most one refund and only of a charge, and no charge after a refund came.
bool run_against_model(const std::vector<Delivery>& sequence) {
  Ledger ledger;
  const FenceKey key{"order-17/charge", "order-17", FencingToken{3}, {}};
  bool charged = false, compensated = false;
  for (const Delivery delivery : sequence) {
    if (delivery == Delivery::restart) {
      ledger.restart();
    } else if (delivery == Delivery::charge || delivery == Delivery::failing_charge) {
      const bool fails = delivery == Delivery::failing_charge;
      const auto result = ledger.charge(key, fails);
      if (compensated) {
        if (result || !result.error().is(fence_errc::compensated)) return false;
      } else {
        charged = charged || !fails;
        if (result.has_value() != charged) return false;
        if (result && *result != "receipt 1") return false;
      }
    } else {
      const bool fails = delivery == Delivery::failing_refund && charged && !compensated;
      if (ledger.refund(key, delivery == Delivery::failing_refund).has_value() == fails) return false;
      compensated = compensated || !fails;
    }
    if (ledger.charged() != (charged ? 1 : 0)) return false;
    if (ledger.refunded() != (charged && compensated ? 1 : 0)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("in every order of deliveries and failures an action and its compensation take effect once") {
  unsigned sequences = 1, wrong = 0;
  for (int length = 1; length <= 5; ++length) {
    sequences *= 5;
    for (unsigned number = 0; number < sequences; ++number)
      if (!run_against_model(sequence_of(number, length))) ++wrong;
  }
  REQUIRE(wrong == 0);
}

TEST_CASE("keys do not disturb one another") {
  Ledger ledger;
  REQUIRE(ledger.charge({.key = "a"}).has_value());
  REQUIRE(ledger.refund({.key = "b"}).has_value());
  REQUIRE(ledger.charge({.key = "c"}).has_value());
  REQUIRE(ledger.charged() == 2);
  REQUIRE(ledger.charge({.key = "b"}).error().message() == "\"b\" was compensated before its action arrived");
  REQUIRE(ledger.charge({.key = "a"}).value() == "receipt 1");
  REQUIRE(ledger.refunded() == 0);
}

TEST_CASE("results are kept byte for byte") {
  Ledger ledger;
  const std::string odd("\0\xff\n", 3);
  const auto give = [&]() -> Result<std::string> { return odd; };
  REQUIRE(ledger.fence->action({.key = "a"}, give).value() == odd);
  REQUIRE(ledger.fence->action({.key = "a"}, give).value() == odd);
  REQUIRE(
      ledger.fence->action({.key = "empty"}, []() -> Result<std::string> { return std::string(); }).value().empty());
}

TEST_CASE("a holder with an older token than one that was seen for the run is refused") {
  Ledger ledger;
  REQUIRE(ledger.charge({"order-17/reserve", "order-17", FencingToken{5}, {}}).has_value());
  const Error stale = ledger.charge({"order-17/charge", "order-17", FencingToken{4}, {}}).error();
  REQUIRE(stale.is(fence_errc::stale));
  REQUIRE(stale.error_class() == ErrorClass::permanent);
  REQUIRE(stale.message() ==
          "\"order-17/charge\" came with token 4, and its run was seen with 5: another holder drives it now");
  REQUIRE(ledger.refund({"order-17/reserve", "order-17", FencingToken{4}, {}}).error().is(fence_errc::stale));
  REQUIRE(ledger.charge({"order-17/reserve", "order-17", FencingToken{4}, {}}).error().is(fence_errc::stale));
  REQUIRE(ledger.charge({"order-18/charge", "order-18", FencingToken{1}, {}}).has_value());
  REQUIRE(ledger.charged() == 2);
}

TEST_CASE("a token was seen even where the effect failed or was refused") {
  Ledger ledger;
  REQUIRE(!ledger.charge({"r/a", "r", FencingToken{9}, {}}, true).has_value());
  REQUIRE(ledger.charge({"r/a", "r", FencingToken{8}, {}}).error().is(fence_errc::stale));
  REQUIRE(ledger.refund({"q/a", "q", FencingToken{1}, {}}).has_value());
  REQUIRE(ledger.charge({"q/a", "q", FencingToken{9}, {}}).error().is(fence_errc::compensated));
  REQUIRE(ledger.refund({"q/a", "q", FencingToken{8}, {}}).error().is(fence_errc::stale));
  REQUIRE(ledger.charged() == 0);
}

TEST_CASE("an effect that throws is undone, and its exception is an error") {
  Ledger ledger;
  const auto thrown = ledger.fence->action({.key = "a"}, [&]() -> Result<std::string> {
    ledger.db.execute("UPDATE ledger SET charged = 77", "test").value();
    throw std::runtime_error("bang");
  });
  REQUIRE(thrown.error().is(core_errc::exception));
  REQUIRE(thrown.error().message() == "an effect threw: bang");
  REQUIRE(ledger.charged() == 0);
  REQUIRE(ledger.charge({.key = "a"}).has_value());
}

TEST_CASE("in the caller's transaction it counts when that commits") {
  Ledger ledger;
  for (const std::string ending : {"ROLLBACK", "COMMIT"}) {
    REQUIRE(ledger.db.execute("BEGIN", "test").has_value());
    REQUIRE(ledger.charge({.key = "a"}).has_value());
    REQUIRE(!ledger.charge({.key = "b"}, true).has_value());
    REQUIRE(ledger.db.in_transaction());
    REQUIRE(ledger.db.execute(ending.c_str(), "test").has_value());
    REQUIRE(ledger.charged() == (ending == "COMMIT" ? 1 : 0));
  }
  REQUIRE(ledger.charge({.key = "a"}).value() == "receipt 1");
  REQUIRE(ledger.charged() == 1);
}

TEST_CASE("the fence forgets what is older than asked, a bounded number at a time") {
  Ledger ledger;
  for (int i = 0; i < 10; ++i) {
    const std::string name = std::to_string(i);
    REQUIRE(ledger.charge({name, name, FencingToken{1}, WallTime(Duration(i))}).has_value());
  }
  REQUIRE(ledger.fence->prune(WallTime(Duration(5)), 3).value() == 3);
  REQUIRE(ledger.fence->prune(WallTime(Duration(5))).value() == 2);
  REQUIRE(ledger.fence->prune(WallTime(Duration(5))).value() == 0);
  REQUIRE(ledger.number("SELECT count(*) FROM aura_fence") == 5);
  REQUIRE(ledger.number("SELECT count(*) FROM aura_fence_run") == 5);
  REQUIRE(ledger.charge({"0", "0", FencingToken{1}, {}}).has_value());
  REQUIRE(ledger.charged() == 11);
}

TEST_CASE("a row that the fence never wrote is an error, and nothing takes effect") {
  Ledger ledger;
  REQUIRE(ledger.charge({.key = "a"}).has_value());
  REQUIRE(ledger.db.execute("UPDATE aura_fence SET state = 7", "test").has_value());
  REQUIRE(ledger.charge({.key = "a"}).error().is(fence_errc::corrupt));
  REQUIRE(ledger.refund({.key = "a"}).error().is(fence_errc::corrupt));
  REQUIRE(ledger.charged() == 1);
}

TEST_CASE("a database that is locked gives an error that says so") {
  sim::Disk disk;
  sqlite::Vfs<sim::Disk> vfs(disk);
  const auto open = [&] { return Database::open({.path = "ledger.db", .vfs = vfs.name()}).value(); };
  Ledger ledger(open()), other(open());
  REQUIRE(other.db.execute("BEGIN IMMEDIATE", "test").has_value());
  const Error locked = ledger.charge({.key = "a"}).error();
  REQUIRE(locked.is(journal_errc::locked));
  REQUIRE(locked.message().find("ledger.db") != std::string_view::npos);
  REQUIRE(other.db.execute("ROLLBACK", "test").has_value());
  REQUIRE(ledger.charge({.key = "a"}).has_value());
}

TEST_CASE("power lost or an error at any operation of the disk: the ledger and the fence agree") {
  for (const auto fault : {sim::DiskFault::power_loss, sim::DiskFault::io, sim::DiskFault::full}) {
    bool reached = true;
    for (std::uint64_t operation = 1; reached; ++operation) {
      sim::Disk disk{Random(operation)};
      sqlite::Vfs<sim::Disk> vfs(disk);
      const auto open = [&] {
        Database db = Database::open({.path = "ledger.db", .vfs = vfs.name()}).value();
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", "test").value();
        return db;
      };
      int charged = 0, refunded = 0;
      {
        Ledger ledger(open());
        const std::uint64_t before = disk.operations();
        disk.inject(before + operation, fault);
        for (const char* key : {"a", "b"}) {
          charged += ledger.charge({key, "r", FencingToken{1}, {}}).has_value() ? 1 : 0;
          refunded += ledger.refund({key, "r", FencingToken{1}, {}}).has_value() ? 1 : 0;
        }
        reached = disk.operations() >= before + operation;
      }
      disk.inject(0, sim::DiskFault::none);
      if (fault == sim::DiskFault::power_loss) disk.restart();
      Ledger ledger(open());
      for (const char* key : {"a", "b"}) {
        const auto again = ledger.charge({key, "r", FencingToken{1}, {}});
        REQUIRE((again || again.error().is(fence_errc::compensated)));
        REQUIRE(ledger.refund({key, "r", FencingToken{1}, {}}).has_value());
      }
      INFO("fault " << int(fault) << " at operation " << operation);
      REQUIRE(ledger.charged() >= charged);
      REQUIRE(ledger.charged() <= 2);
      REQUIRE(ledger.charged() == ledger.refunded());
      if (refunded == 2) REQUIRE(ledger.charged() == charged);
    }
  }
}
