// A step's own SQL in the journal's transaction.
#include "journal_host.hpp"
#include "support/journal_driver.hpp"

#include <aura/sqlite/participant_fence.hpp>
#include <aura/sqlite/transaction.hpp>

#include <stdexcept>
#include <string>

namespace {

using namespace aura;        // NOLINT: a test
using namespace aura::test;  // NOLINT

Result<void> execute(sqlite3* db, const char* sql) {
  const int code = sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return sqlite::error_of(db, code, "app.db", "testing");
  return {};
}

struct Shop : JournalDriver<SqliteHost> {
  Shop() { execute(ledger().handle(), "CREATE TABLE ledger(amount INTEGER)").value(); }

  sqlite::Database ledger() { return sqlite::Database::open({.path = "app.db", .vfs = host.vfs.name()}).value(); }
  std::int64_t sum() { return ledger().integer("SELECT ifnull(sum(amount), 0) FROM ledger", "testing").value(); }

  static Effect pay(const char* sql) {
    return sqlite::effect([sql](sqlite3* db) { return execute(db, sql); });
  }
  Batch paid(const std::string& stream, Effect effect) {
    return {{birth(stream, {record("paid")})}, std::move(effect)};
  }
};

}  // namespace

TEST_CASE("an effect and its records are committed together") {
  Shop shop;
  REQUIRE(ok(shop.commit(shop.paid("a", Shop::pay("INSERT INTO ledger VALUES(5)")))));
  REQUIRE(shop.sum() == 5);
  REQUIRE(refused(shop.commit(shop.paid("a", Shop::pay("INSERT INTO ledger VALUES(7)"))),
                  journal_errc::version_conflict));
  REQUIRE(shop.sum() == 5);
  REQUIRE(ok(shop.commit(Batch{{}, Shop::pay("INSERT INTO ledger VALUES(1)")})));
  REQUIRE(shop.sum() == 6);
}

TEST_CASE("an effect that fails after it has written undoes its own batch and no other") {
  Shop shop;
  int taken = 0;
  std::vector<Error> errors;
  const auto count = [&](const Result<void>& result) {
    if (result)
      ++taken;
    else
      errors.push_back(result.error());
  };
  auto& journal = shop.host.journal();
  journal.commit(shop.paid("a", Shop::pay("INSERT INTO ledger VALUES(1)")), count);
  journal.commit(shop.paid("b", sqlite::effect([](sqlite3* db) -> Result<void> {
                             execute(db, "INSERT INTO ledger VALUES(10)").value();
                             return Error("shop", 3, ErrorClass::rejected, "the customer has no credit");
                           })),
                 count);
  journal.commit(shop.paid("c", sqlite::effect([](sqlite3* db) -> Result<void> {
                             execute(db, "INSERT INTO ledger VALUES(100)").value();
                             throw std::runtime_error("bang");
                           })),
                 count);
  journal.commit(shop.paid("d", Shop::pay("INSERT INTO nowhere VALUES(1)")), count);
  journal.commit(shop.paid("e", Shop::pay("INSERT INTO ledger VALUES(1000)")), count);
  const auto before = journal.stats().transactions;
  shop.host.world.run();
  REQUIRE(journal.stats().transactions == before + 1);
  REQUIRE(taken == 2);
  REQUIRE(errors.size() == 3);
  int no_credit = 0, threw = 0;
  for (const Error& error : errors) {
    no_credit +=
        error.message() == "the customer has no credit" && error.error_class() == ErrorClass::rejected ? 1 : 0;
    threw += error.is(journal_errc::effect_failed) && error.message() == "an effect threw: bang" ? 1 : 0;
  }
  REQUIRE(no_credit == 1);
  REQUIRE(threw == 1);
  REQUIRE(shop.sum() == 1001);
  REQUIRE((shop.names({.kind = "saga"}) == std::vector<std::string>{"a", "e"}));
}

TEST_CASE("an effect can neither end the transaction nor touch the journal's tables") {
  Shop shop;
  REQUIRE(ok(shop.commit({birth("s", {record("1")})})));
  for (const char* forbidden :
       {"COMMIT", "ROLLBACK", "BEGIN", "RELEASE aura_batch", "ROLLBACK TO aura_batch",
        "DELETE FROM aura_journal_records", "UPDATE aura_journal_streams SET token = 9",
        "DROP TABLE aura_journal_leases", "PRAGMA synchronous = OFF",
        "CREATE TRIGGER t AFTER INSERT ON aura_journal_records BEGIN SELECT 1; END", "ATTACH ':memory:' AS other"}) {
    INFO(forbidden);
    REQUIRE(!shop.commit(shop.paid("x", Shop::pay(forbidden))));
    REQUIRE(!shop.head("x").value());
  }
  REQUIRE(shop.read("s", 0, 9)->size() == 1);
  REQUIRE(ok(shop.commit(shop.paid("x", Shop::pay("SAVEPOINT mine; INSERT INTO ledger VALUES(1); ROLLBACK TO mine;"
                                                  "INSERT INTO ledger VALUES(2); RELEASE mine;"
                                                  "SELECT count(*) FROM aura_journal_streams")))));
  REQUIRE(shop.sum() == 2);
}

TEST_CASE("statements that an effect leaves open are no obstacle") {
  Shop shop;
  sqlite3_stmt* left = nullptr;
  REQUIRE(ok(shop.commit(shop.paid("a", sqlite::effect([&](sqlite3* db) -> Result<void> {
                                     sqlite3_prepare_v2(db, "INSERT INTO ledger VALUES(1), (2) RETURNING amount", -1,
                                                        &left, nullptr);
                                     sqlite3_step(left);  // and not to the end
                                     return {};
                                   })))));
  REQUIRE(shop.sum() == 3);
  sqlite3_finalize(left);
}

TEST_CASE("an effect for SQLite that reaches another journal is refused") {
  ForeignTransaction other;
  REQUIRE(refused(Shop::pay("SELECT 1")(other), journal_errc::effect_unsupported));
}

TEST_CASE("a participant's fence works inside an effect") {
  Shop shop;
  const auto charge = [&](const std::string& stream) {
    return shop.commit(shop.paid(stream, sqlite::effect([](sqlite3* db) -> Result<void> {
                                   sqlite::ParticipantFence fence(db);
                                   auto receipt =
                                       fence.action({.key = "order-17/charge"}, [&]() -> Result<std::string> {
                                         if (auto paid = execute(db, "INSERT INTO ledger VALUES(5)"); !paid)
                                           return paid.error();
                                         return std::string("receipt");
                                       });
                                   if (!receipt) return receipt.error();
                                   return {};
                                 })));
  };
  REQUIRE(ok(charge("a")));
  REQUIRE(ok(charge("b")));
  REQUIRE(shop.sum() == 5);
}

TEST_CASE("an effect on a full disk fails the group, and the journal goes on") {
  Shop shop;
  const std::uint64_t used = shop.host.disk.bytes_used();
  shop.host.disk.set_bytes_max(used + 100'000);
  int full = 0;
  const auto count = [&](const Result<void>& result) {
    full += !result && result.error().is(journal_errc::full) ? 1 : 0;
  };
  shop.host.journal().commit(shop.paid("a", nullptr), count);
  shop.host.journal().commit(
      shop.paid("b", Shop::pay("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
                               "INSERT INTO ledger SELECT i FROM n")),
      count);
  shop.host.world.run();
  REQUIRE(full == 2);
  shop.host.disk.set_bytes_max(std::uint64_t{1} << 30);
  REQUIRE(ok(shop.commit(shop.paid("a", Shop::pay("INSERT INTO ledger VALUES(1)")))));
  REQUIRE(shop.sum() == 1);
}
