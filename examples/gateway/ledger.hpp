// The ledger: quota and bills in a database of their own, as another service would keep them.
//
// It knows nothing of sagas but this: each change comes with the key of a step, possibly more than once, and possibly
// after the change was undone. The fence records the key in the transaction of the change, so that a change that
// arrives again is not made again, and one that arrives after its undoing is refused.
#pragma once

#include "request.hpp"

#include <aura/durable/step_context.hpp>
#include <aura/sqlite/database.hpp>
#include <aura/sqlite/participant_fence.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace gateway {

/// Blocks on the disk: its steps run on the blocking executor. Shared between threads.
class Ledger {
 public:
  static aura::Result<std::unique_ptr<Ledger>> open(const std::string& path) {
    auto db = aura::sqlite::Database::open({.path = path});
    if (!db) return db.error();
    std::unique_ptr<Ledger> ledger(new Ledger(std::move(*db)));
    if (auto ready = ledger->prepare(); !ready) return ready.error();
    return ledger;
  }

  // Changes. Each is one transaction, durable when it returns, and made once however often it is asked for.

  aura::Result<void> reserve(const Request& request, aura::StepContext& step) {
    return once(step, [&]() -> aura::Result<void> {
      const std::int64_t tokens = tokens_reserved(request);
      std::int64_t left = -1;
      auto read = quota_left_.each(
          "reading an account",
          [&](aura::sqlite::Row row) {
            left = row.integer(0);
            return false;
          },
          request.tenant);
      if (!read) return read;
      if (left < tokens)
        return fault(aura::ErrorClass::permanent,
                     fmt::format("{} has no quota left for {} tokens", request.tenant, tokens));
      if (auto kept = add_reservation_.run("reserving", run_name(step), request.tenant, tokens); !kept) return kept;
      return move_reserved_.run("reserving", tokens, request.tenant);
    });
  }

  aura::Result<void> release(const Request& request, aura::StepContext& step) {
    return undo(step, [&]() -> aura::Result<void> {
      if (auto closed = close_reservation_.run("releasing", "released", 0, run_name(step)); !closed) return closed;
      return move_reserved_.run("releasing", -tokens_reserved(request), request.tenant);
    });
  }

  aura::Result<void> bill(const Request& request, std::int64_t nano_usd, aura::StepContext& step) {
    return once(step, [&] { return add_bill_.run("billing", run_name(step), request.tenant, nano_usd); });
  }

  /// What was billed, whatever that was.
  aura::Result<void> refund(aura::StepContext& step) {
    return undo(step, [&] { return add_refund_.run("refunding", run_name(step)); });
  }

  /// What was reserved becomes what was used; the rest is given back.
  aura::Result<void> settle(const Request& request, aura::StepContext& step) {
    return once(step, [&]() -> aura::Result<void> {
      const std::int64_t used = tokens_used(request);
      if (auto closed = close_reservation_.run("settling", "settled", used, run_name(step)); !closed) return closed;
      return settle_account_.run("settling", tokens_reserved(request), used, request.tenant);
    });
  }

  /// The answer went out.
  aura::Result<void> deliver(aura::StepContext& step) {
    return once(step, [&] { return add_delivery_.run("delivering", run_name(step)); });
  }

  /// Opens accounts, tenant and quota in tokens, and leaves those as they are that are open.
  aura::Result<void> open_accounts(const std::vector<std::pair<std::string, std::int64_t>>& accounts) {
    return transact([&]() -> aura::Result<void> {
      for (const auto& [tenant, quota] : accounts)
        if (auto opened = open_account_.run("opening an account", tenant, quota); !opened) return opened;
      return {};
    });
  }

  // Settings: what this ledger's state was begun with.

  aura::Result<std::string> setting(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::string value;
    auto read = read_setting_.each(
        "reading a setting",
        [&](aura::sqlite::Row row) {
          value = row.text(0);
          return false;
        },
        name);
    if (!read) return read.error();
    return value;
  }
  aura::Result<void> set(const std::string& name, const std::string& value) {
    return transact([&] { return write_setting_.run("writing a setting", name, value); });
  }

  /// For the audit, which asks the database itself.
  aura::sqlite::Database& database() noexcept { return db_; }
  /// Transactions so far, each with one sync.
  std::uint64_t syncs() const noexcept { return syncs_; }

 private:
  using Change = std::function<aura::Result<void>()>;

  explicit Ledger(aura::sqlite::Database db) : db_(std::move(db)), fence_(db_.handle()) {}

  static std::string run_name(const aura::StepContext& step) { return step.run().str(); }

  /// Made once, however often the step asks; refused once the step was undone.
  aura::Result<void> once(aura::StepContext& step, const Change& change) {
    const std::lock_guard lock(mutex_);
    const std::string key = step.idempotency_key();
    const auto done = fence_.action(delivery(key, step), [&]() -> aura::Result<std::string> {
      if (auto changed = change(); !changed) return changed.error();
      return std::string();
    });
    if (!done) return done.error();
    ++syncs_;
    return {};
  }
  /// Made once, where the step took effect; where it did not, it never will.
  aura::Result<void> undo(aura::StepContext& step, const Change& change) {
    const std::lock_guard lock(mutex_);
    const std::string key = step.idempotency_key();
    const auto undone = fence_.compensation(delivery(key, step), change);
    if (undone) ++syncs_;
    return undone;
  }
  static aura::sqlite::FenceKey delivery(const std::string& key, const aura::StepContext& step) {
    return {key, step.run().str(), step.fencing_token(), step.runtime().wall_now()};
  }

  /// All or nothing, and synced.
  aura::Result<void> transact(const Change& change) {
    const std::lock_guard lock(mutex_);
    if (auto begun = db_.execute("BEGIN IMMEDIATE", "beginning a transaction"); !begun) return begun;
    aura::Result<void> done = change();
    if (done) done = db_.execute("COMMIT", "committing");
    if (done) ++syncs_;
    if (!done && db_.in_transaction()) (void)db_.execute("ROLLBACK", "rolling back");
    return done;
  }

  aura::Result<void> prepare();

  aura::sqlite::Database db_;
  std::mutex mutex_;
  aura::sqlite::ParticipantFence fence_;
  std::atomic<std::uint64_t> syncs_{0};
  aura::sqlite::Statement quota_left_, add_reservation_, close_reservation_, move_reserved_, settle_account_,
      add_bill_, add_refund_, add_delivery_, open_account_, read_setting_, write_setting_;
};

/// Nothing here forbids a second bill: that there is none is for the fence to see to and for the audit to prove.
inline constexpr const char* ledger_schema = R"sql(
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS accounts(
  tenant TEXT PRIMARY KEY, quota INTEGER NOT NULL, reserved INTEGER NOT NULL, used INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reservations(
  run TEXT NOT NULL, tenant TEXT NOT NULL, tokens INTEGER NOT NULL, state TEXT NOT NULL, used INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS reservations_by_run ON reservations(run);
CREATE TABLE IF NOT EXISTS entries(
  run TEXT NOT NULL, tenant TEXT NOT NULL, kind TEXT NOT NULL, nano_usd INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS entries_by_run ON entries(run);
CREATE TABLE IF NOT EXISTS deliveries(run TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS deliveries_by_run ON deliveries(run);
CREATE TABLE IF NOT EXISTS settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
)sql";

inline aura::Result<void> Ledger::prepare() {
  if (auto made = db_.execute(ledger_schema, "making the ledger"); !made) return made;
  const std::pair<aura::sqlite::Statement*, const char*> all[] = {
      {&quota_left_, "SELECT quota - reserved - used FROM accounts WHERE tenant = ?"},
      {&add_reservation_, "INSERT INTO reservations VALUES(?, ?, ?, 'held', 0)"},
      {&close_reservation_, "UPDATE reservations SET state = ?, used = ? WHERE run = ?"},
      {&move_reserved_, "UPDATE accounts SET reserved = reserved + ? WHERE tenant = ?"},
      {&settle_account_, "UPDATE accounts SET reserved = reserved - ?, used = used + ? WHERE tenant = ?"},
      {&add_bill_, "INSERT INTO entries VALUES(?, ?, 'bill', ?)"},
      {&add_refund_,
       "INSERT INTO entries SELECT run, tenant, 'refund', nano_usd FROM entries WHERE run = ? AND kind = 'bill'"},
      {&add_delivery_, "INSERT INTO deliveries VALUES(?)"},
      {&open_account_, "INSERT OR IGNORE INTO accounts VALUES(?, ?, 0, 0)"},
      {&read_setting_, "SELECT value FROM settings WHERE name = ?"},
      {&write_setting_, "INSERT INTO settings VALUES(?, ?)"},
  };
  for (const auto& [statement, sql] : all) {
    auto prepared = db_.prepare(sql);
    if (!prepared) return prepared.error();
    *statement = std::move(*prepared);
  }
  return {};
}

}  // namespace gateway
