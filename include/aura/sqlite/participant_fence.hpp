// What a service that takes part in sagas keeps in its own database, so that each action takes effect at most once and
// none after its compensation.
#pragma once

#include <aura/core/ids.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>
#include <aura/sqlite/database.hpp>

#include <sqlite3.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace aura::sqlite {

/// Codes of the domain "fence". All are permanent: the saga is told that nothing happened, and not to try again.
enum class fence_errc : std::int32_t {
  compensated = 1,  ///< the action arrived after its compensation
  stale = 2,  ///< the fencing token is older than one that was seen for the same run
  corrupt = 3,  ///< the fence's table holds what it never writes
};
constexpr std::string_view error_domain(fence_errc) noexcept { return "fence"; }

/// One delivery of an action or a compensation.
struct FenceKey {
  std::string_view key{};  ///< the idempotency key, of the action and of its compensation alike ("order-17/charge")
  std::string_view run{};  ///< what the token is compared within ("order-17"); empty: it is not compared
  FencingToken token{};  ///< from the step's context
  WallTime now{};  ///< kept for `prune`
};

/// Keeps one row for each key, and one for each run whose token is compared, in two tables (aura_fence,
/// aura_fence_run) of the participant's database, so that what it knows is committed with the effect or not at all:
///
///     aura::sqlite::ParticipantFence fence(db);                         // sqlite3*
///     aura::Result<std::string> receipt = fence.action({key, run, token, now}, [&]() -> aura::Result<std::string> {
///       …  // the participant's own statements on db; an error or exception undoes them
///       return receipt_number;                                          // kept, and given to every repetition
///     });
///     aura::Result<void> undone = fence.compensation({key, run, token, now}, [&]() -> aura::Result<void> { … });
///
/// In every order and repetition: an action takes effect once, and a repetition gives the first result again; a
/// compensation takes effect once, and only where the action did; a compensation without its action succeeds and leaves a
/// tombstone, which refuses the action when it arrives late. An effect that fails leaves no trace but
/// the token it came with, and may be repeated.
///
/// Each call is a transaction of its own (BEGIN IMMEDIATE), or, where one is open already, a savepoint in it: then it
/// counts when that transaction commits. So it works inside an effect of a `SqliteJournal` too. The effect must not end
/// the transaction. The tables are made when they are first needed. Used by one thread at a time, like its connection,
/// which must outlive it. A call costs two or three statements besides the effect.
class ParticipantFence {
 public:
  explicit ParticipantFence(sqlite3* db) : db_(db) {}

  /// Runs `effect() -> Result<std::string>` unless the key was seen.
  /// fence_errc::compensated, fence_errc::stale, the effect's own error (core_errc::exception where it throws), or what
  /// the storage says (domain "journal", see `error_of`).
  template <class Function>
    requires std::convertible_to<std::invoke_result_t<Function&>, Result<std::string>>
  Result<std::string> action(const FenceKey& delivery, Function&& effect) {
    return in_transaction<std::string>([&]() -> Result<std::string> {
      if (auto admitted = admit(delivery); !admitted) return admitted.error();
      const Result<State> state = look_up(delivery);
      if (!state) return state.error();
      if (state->word == Word::compensated) return late(delivery);
      if (state->word == Word::done) return state->result;
      Result<std::string> result = run_effect<std::string>(effect);
      if (!result) return result;
      if (auto kept = keep(delivery, Word::done, *result); !kept) return kept.error();
      return result;
    });
  }

  /// Runs `effect() -> Result<void>` where the action took effect and was not compensated yet. Errors as of `action`,
  /// but never `compensated`.
  template <class Function>
    requires std::convertible_to<std::invoke_result_t<Function&>, Result<void>>
  Result<void> compensation(const FenceKey& delivery, Function&& effect) {
    return in_transaction<void>([&]() -> Result<void> {
      if (auto admitted = admit(delivery); !admitted) return admitted;
      const Result<State> state = look_up(delivery);
      if (!state) return state.error();
      if (state->word == Word::compensated) return {};
      if (state->word == Word::done)
        if (Result<void> undone = run_effect<void>(effect); !undone) return undone;
      return keep(delivery, Word::compensated, "");
    });
  }

  /// Forgets keys and runs that were last written before a time, at most `limit` of each; returns how many keys. A
  /// delivery that comes later than that is taken for a new one, so keep them longer than any saga may run.
  Result<std::size_t> prune(WallTime before, std::size_t limit = 1000) {
    return in_transaction<std::size_t>([&]() -> Result<std::size_t> {
      const auto rows = static_cast<std::int64_t>(std::min<std::size_t>(limit, std::size_t{1} << 30));
      if (auto done = run(prune_runs_, "pruning the fence", before.time_since_epoch().count(), rows); !done)
        return done.error();
      if (auto done = run(prune_keys_, "pruning the fence", before.time_since_epoch().count(), rows); !done)
        return done.error();
      return static_cast<std::size_t>(sqlite3_changes(db_));
    });
  }

 private:
  enum class Word : std::int64_t { unknown = 0, done = 1, compensated = 2 };
  struct State {
    Word word = Word::unknown;
    std::string result;
  };

  static Error late(const FenceKey& delivery) {
    return Error(fence_errc::compensated, ErrorClass::permanent,
                 "\"" + std::string(delivery.key) + "\" was compensated before its action arrived");
  }

  /// Compares the token with the largest that its run was seen with, and keeps the larger.
  Result<void> admit(const FenceKey& delivery) {
    if (delivery.run.empty()) return {};
    std::uint64_t seen = 0;
    const auto read = each(
        get_run_, "reading the fence",
        [&](Row row) {
          seen = static_cast<std::uint64_t>(row.integer(0));
          return false;
        },
        delivery.run);
    if (!read) return read;
    const auto token = static_cast<std::uint64_t>(delivery.token);
    if (token < seen)
      return Error(fence_errc::stale, ErrorClass::permanent,
                   "\"" + std::string(delivery.key) + "\" came with token " + std::to_string(token) +
                       ", and its run was seen with " + std::to_string(seen) + ": another holder drives it now");
    if (token == seen) return {};
    return run(put_run_, "writing the fence", delivery.run, token, delivery.now.time_since_epoch().count());
  }

  Result<State> look_up(const FenceKey& delivery) {
    State state;
    bool sound = true;
    const auto read = each(
        get_key_, "reading the fence",
        [&](Row row) {
          sound = row.integer(0) == 1 || row.integer(0) == 2;
          state.word = Word{row.integer(0)};
          state.result = row.blob(1);
          return false;
        },
        delivery.key);
    if (!read) return read.error();
    if (!sound)
      return Error(fence_errc::corrupt, ErrorClass::permanent,
                   "the fence's row of \"" + std::string(delivery.key) + "\" has a state that never was");
    return state;
  }

  Result<void> keep(const FenceKey& delivery, Word word, std::string_view result) {
    return run(put_key_, "writing the fence", delivery.key, static_cast<std::int64_t>(word), Blob{result},
               delivery.now.time_since_epoch().count());
  }

  /// Commits a refusal, too: the token it came with was seen. A failure of the storage undoes all.
  template <class T, class Work>
  Result<T> in_transaction(Work work) {
    broken_ = false;
    const bool nested = sqlite3_get_autocommit(db_) == 0;
    if (auto begun = execute(nested ? "SAVEPOINT aura_fence_call" : "BEGIN IMMEDIATE"); !begun) return begun.error();
    Result<T> result = prepare(nested) ? work() : Result<T>(*failure_);
    if (!broken_ && !execute(nested ? "RELEASE aura_fence_call" : "COMMIT")) result = *failure_;
    if (broken_) undo(nested);
    return result;
  }

  /// In a savepoint, so that an effect that fails is undone and what was seen is kept.
  template <class T, class Function>
  Result<T> run_effect(Function& effect) {
    if (auto begun = execute("SAVEPOINT aura_fence_effect"); !begun) return begun.error();
    Result<T> result = attempt<T>(effect);
    // Where the disk is full, SQLite may have ended the transaction under the effect.
    if (sqlite3_get_autocommit(db_) != 0) {
      broken_ = true;
      return result ? Result<T>(Error(journal_errc::io, ErrorClass::transient,
                                      file() + ": an effect ended the transaction that it was to be part of"))
                    : result;
    }
    if (!result)
      if (auto undone = execute("ROLLBACK TO aura_fence_effect"); !undone) return undone.error();
    if (auto released = execute("RELEASE aura_fence_effect"); !released) return released.error();
    return result;
  }

  template <class T, class Function>
  Result<T> attempt(Function& effect) try {
    return effect();
  } catch (const std::exception& thrown) {
    return Error(core_errc::exception, ErrorClass::permanent, std::string("an effect threw: ") + thrown.what());
  } catch (...) {
    return Error(core_errc::exception, ErrorClass::permanent, "an effect threw something that is no exception");
  }

  void undo(bool nested) {
    if (sqlite3_get_autocommit(db_) != 0) return;
    sqlite3_exec(db_, nested ? "ROLLBACK TO aura_fence_call; RELEASE aura_fence_call" : "ROLLBACK", nullptr, nullptr,
                 nullptr);
  }

  Result<void> note(Result<void> done) {
    if (done) return done;
    broken_ = true;
    failure_ = done.error();
    return done;
  }

  template <class... Values>
  Result<void> run(Statement& statement, std::string_view doing, const Values&... values) {
    return note(statement.run(doing, values...));
  }
  template <class OnRow, class... Values>
  Result<void> each(Statement& statement, std::string_view doing, OnRow&& on_row, const Values&... values) {
    return note(statement.each(doing, on_row, values...));
  }

  Result<void> execute(const char* sql) {
    const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
    return note(code == SQLITE_OK ? Result<void>() : error_of(db_, code, file(), "fencing an effect"));
  }

  std::string file() const {
    const char* name = sqlite3_db_filename(db_, "main");
    return name == nullptr || *name == '\0' ? "a database in memory" : name;
  }

  /// Makes the tables where they are missing. In a transaction of somebody else's, which may be undone, they may be
  /// missing again the next time.
  Result<void> prepare(bool nested) {
    if (tables_are_there_) return {};
    bool found = false;
    if (find_tables_.handle() == nullptr)
      if (auto ready = prepare_one(find_tables_, "SELECT 1 FROM sqlite_master WHERE name = 'aura_fence'"); !ready)
        return ready;
    const auto looked = each(find_tables_, "looking for the fence", [&](Row) { return !(found = true); });
    if (!looked) return looked;
    if (!found)
      if (auto made = execute(schema); !made) return made;
    tables_are_there_ = !nested;
    return put_run_.handle() != nullptr ? Result<void>() : prepare_all();
  }

  Result<void> prepare_all() {
    const std::pair<Statement*, const char*> all[] = {
        {&get_key_, "SELECT state, result FROM aura_fence WHERE key = ?"},
        {&put_key_, "INSERT OR REPLACE INTO aura_fence(key, state, result, at) VALUES(?, ?, ?, ?)"},
        {&get_run_, "SELECT token FROM aura_fence_run WHERE run = ?"},
        {&prune_keys_,
         "DELETE FROM aura_fence WHERE key IN (SELECT key FROM aura_fence WHERE at < ? ORDER BY at LIMIT ?)"},
        {&prune_runs_,
         "DELETE FROM aura_fence_run WHERE run IN (SELECT run FROM aura_fence_run WHERE at < ? ORDER BY at LIMIT ?)"},
        {&put_run_, "INSERT OR REPLACE INTO aura_fence_run(run, token, at) VALUES(?, ?, ?)"},
    };
    for (const auto& [statement, sql] : all)
      if (auto ready = prepare_one(*statement, sql); !ready) return ready;
    return {};
  }

  Result<void> prepare_one(Statement& statement, const char* sql) {
    auto prepared = Statement::prepare(db_, file(), sql);
    if (!prepared) return note(prepared.error());
    statement = std::move(*prepared);
    return {};
  }

  static constexpr const char* schema =
      "CREATE TABLE aura_fence(key TEXT PRIMARY KEY, state INTEGER NOT NULL, result BLOB NOT NULL, at INTEGER NOT "
      "NULL)"
      " STRICT, WITHOUT ROWID;"
      "CREATE INDEX aura_fence_by_time ON aura_fence(at);"
      "CREATE TABLE aura_fence_run(run TEXT PRIMARY KEY, token INTEGER NOT NULL, at INTEGER NOT NULL)"
      " STRICT, WITHOUT ROWID;"
      "CREATE INDEX aura_fence_run_by_time ON aura_fence_run(at);";

  sqlite3* db_;
  Statement find_tables_, get_key_, put_key_, get_run_, prune_keys_, prune_runs_, put_run_;
  bool tables_are_there_ = false;
  bool broken_ = false;  ///< the storage failed in the call that runs now
  std::optional<Error> failure_;
};

}  // namespace aura::sqlite
