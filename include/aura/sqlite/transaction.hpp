// A step's own SQL inside the journal's transaction: exactly once.
#pragma once

#include <aura/core/journal.hpp>

#include <sqlite3.h>

#include <concepts>
#include <functional>
#include <utility>

namespace aura::sqlite {

/// The transaction of a `SqliteJournal` while it commits a batch.
class SqliteTransaction final : public Transaction {
 public:
  explicit SqliteTransaction(sqlite3* db) noexcept : db_(db) {}

  /// For statements on the host's own tables in the journal's database. What the journal refuses here: to begin, end or
  /// attach anything, and to write its own tables (named aura_journal_…). Savepoints of other names than
  /// "aura_batch" are fine.
  sqlite3* handle() const noexcept { return db_; }

 private:
  sqlite3* db_;
};

/// An effect for `Batch::effect` from a function of the connection:
///
///     batch.effect = aura::sqlite::effect([id](sqlite3* db) -> aura::Result<void> { … });
///
/// It runs on the blocking executor inside the transaction, before the batch's records are written, and takes effect if
/// and only if they do. An error refuses the batch with that error and undoes what it wrote; so does an exception, with
/// `effect_failed`. With another journal than a `SqliteJournal` it gives `effect_unsupported`.
template <class Function>
  requires std::invocable<Function&, sqlite3*> &&
           std::convertible_to<std::invoke_result_t<Function&, sqlite3*>, Result<void>>
Effect effect(Function function) {
  return [function = std::move(function)](Transaction& transaction) mutable -> Result<void> {
    auto* const ours = dynamic_cast<SqliteTransaction*>(&transaction);
    if (ours == nullptr)
      return Error::fixed(journal_errc::effect_unsupported, ErrorClass::permanent,
                          "an effect on SQLite was given to a journal that is not in SQLite");
    return function(ours->handle());
  };
}

}  // namespace aura::sqlite
