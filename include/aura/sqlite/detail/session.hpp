// The writing connection: one transaction for a group of operations, and what stays remembered between groups.
#pragma once

#include <aura/sqlite/database.hpp>
#include <aura/sqlite/detail/effect_guard.hpp>
#include <aura/sqlite/detail/head_cache.hpp>
#include <aura/sqlite/detail/record_queue.hpp>
#include <aura/sqlite/transaction.hpp>

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace aura::sqlite::detail {

/// Every statement of an operation goes through `run` and `each`, so that a failure of the storage, which ends the
/// whole group, is told from a refusal, which is one batch's own affair. Used by one thread at a time.
class Session {
 public:
  static Result<std::unique_ptr<Session>> open(Database db, std::size_t heads_max) {
    auto session = std::unique_ptr<Session>(new Session(std::move(db), heads_max));
    if (auto prepared = session->prepare_all(); !prepared) return prepared.error();
    return session;
  }

  /// Begins the group's transaction. What was remembered is forgotten where another connection has written since.
  Result<void> begin() {
    failure_.reset();
    if (auto begun = begin_.run("beginning a transaction"); !begun) return begun;
    std::int64_t version = 0;
    const auto read = data_version_.each("beginning a transaction", [&](Row row) {
      version = row.integer(0);
      return false;
    });
    if (!read) {
      rollback();
      return read;
    }
    if (version != seen_version_) forget();
    seen_version_ = version;
    return {};
  }

  /// Returns once what the group wrote is synced. On an error nothing of it is there, but see `journal` about `io`.
  Result<void> commit() {
    auto committed = write_records();
    if (committed) committed = commit_.run("committing");
    if (!committed) rollback();
    return committed;
  }

  void rollback() {
    // SQLite may have rolled back by itself already; a ROLLBACK always ends the transaction, even when it fails.
    if (db_.in_transaction()) sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
    records_.clear();
    forget();
  }

  /// The record must stay where it is until the group has ended.
  Result<void> add_record(std::int64_t stream, std::uint64_t version, const Record& record) {
    records_.add(stream, version, record);
    return records_.full() ? write_records() : Result<void>();
  }

  /// Before anybody reads or removes records, effects included.
  Result<void> write_records() {
    auto written = records_.write();
    if (!written) failure_ = written.error();
    return written;
  }

  template <class... Values>
  Result<void> run(Statement& statement, std::string_view doing, const Values&... values) {
    auto done = statement.run(doing, values...);
    if (!done) failure_ = done.error();
    return done;
  }

  template <class OnRow, class... Values>
  Result<void> each(Statement& statement, std::string_view doing, OnRow&& on_row, const Values&... values) {
    auto done = statement.each(doing, on_row, values...);
    if (!done) failure_ = done.error();
    return done;
  }

  /// Runs an effect in a savepoint of its own. An error of it undoes what it wrote and nothing else.
  Result<void> run_effect(const Effect& effect) {
    if (auto written = write_records(); !written) return written;
    if (auto saved = run(savepoint_, "running an effect"); !saved) return saved;
    Result<void> done = guarded(effect);
    reset_others();
    if (!db_.in_transaction()) {
      // A full disk may have ended the transaction under it.
      failure_ =
          done ? Error(journal_errc::io, ErrorClass::transient, db_.path() + ": an effect ended the transaction")
               : done.error();
      return *failure_;
    }
    if (!done)
      if (auto undone = run(undo_, "undoing an effect"); !undone) return undone;
    if (auto released = run(release_, "ending an effect"); !released) return released;
    return done;
  }

  /// An error that what an operation found in the file cannot be: ends the group.
  Error corrupt(std::string what) {
    failure_ = Error(journal_errc::corrupt, ErrorClass::permanent, db_.path() + ": " + std::move(what));
    return *failure_;
  }

  void fail(Error error) { failure_ = std::move(error); }
  const std::optional<Error>& failure() const noexcept { return failure_; }
  Database& db() noexcept { return db_; }
  HeadCache& heads() noexcept { return heads_; }

  /// How many streams of a kind are open, or closed. Counted once, then kept.
  Result<std::uint64_t> count(const std::string& kind, bool open) {
    auto& known = counts_[{kind, open}];
    if (known) return *known;
    const auto counted = each(
        count_, "counting streams",
        [&](Row row) {
          known = static_cast<std::uint64_t>(row.integer(0));
          return false;
        },
        kind, open);
    if (!counted) return counted.error();
    return known.value_or(0);
  }

  /// A stream of the kind came into that state, or left it.
  void counted(const std::string& kind, bool open, int change) {
    const auto found = counts_.find({kind, open});
    if (found != counts_.end() && found->second) *found->second += static_cast<std::uint64_t>(std::int64_t{change});
  }

  void trim() {
    heads_.trim();
    if (counts_.size() > counts_max) counts_.clear();
  }

 private:
  static constexpr std::size_t counts_max = 1024;

  Session(Database db, std::size_t heads_max) : db_(std::move(db)), guard_(db_.handle()), heads_(heads_max) {}

  Result<void> prepare_all() {
    const std::pair<Statement*, const char*> all[] = {
        {&begin_, "BEGIN IMMEDIATE"},
        {&commit_, "COMMIT"},
        {&data_version_, "PRAGMA data_version"},
        {&savepoint_, "SAVEPOINT aura_batch"},
        {&undo_, "ROLLBACK TO aura_batch"},
        {&release_, "RELEASE aura_batch"},
        {&count_,
         "SELECT count(*) FROM aura_journal_streams INDEXED BY aura_journal_by_state WHERE kind = ? AND open = ?"},
    };
    for (const auto& [statement, sql] : all) {
      auto prepared = db_.prepare(sql);
      if (!prepared) return prepared.error();
      *statement = std::move(*prepared);
    }
    return records_.prepare_all(db_);
  }

  Result<void> guarded(const Effect& effect) try {
    const EffectGuard::Scope scope(guard_);
    SqliteTransaction transaction(db_.handle());
    return effect(transaction);
  } catch (const std::exception& thrown) {
    return Error(journal_errc::effect_failed, ErrorClass::permanent,
                 std::string("an effect threw: ") + thrown.what());
  } catch (...) {
    return Error(journal_errc::effect_failed, ErrorClass::permanent,
                 "an effect threw something that is no exception");
  }

  /// A statement that an effect left in the middle would keep the transaction from ending.
  void reset_others() {
    for (sqlite3_stmt* each = sqlite3_next_stmt(db_.handle(), nullptr); each != nullptr;
         each = sqlite3_next_stmt(db_.handle(), each))
      if (sqlite3_stmt_busy(each) != 0) sqlite3_reset(each);
  }

  void forget() {
    heads_.clear();
    counts_.clear();
  }

  Database db_;
  EffectGuard guard_;
  Statement begin_, commit_, data_version_, savepoint_, undo_, release_, count_;
  HeadCache heads_;
  RecordQueue records_;
  std::map<std::pair<std::string, bool>, std::optional<std::uint64_t>> counts_;
  std::optional<Error> failure_;
  std::int64_t seen_version_ = 0;
};

}  // namespace aura::sqlite::detail
