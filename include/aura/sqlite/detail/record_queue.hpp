// Records on their way into their table: several rows a statement, because much of what a row costs is its statement.
#pragma once

#include <aura/sqlite/database.hpp>
#include <aura/sqlite/detail/record_meta.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aura::sqlite::detail {

/// Records wait here for their transaction to go on, and are written at the latest before it ends, and before anybody
/// reads the table. Used by one thread at a time.
class RecordQueue {
 public:
  Result<void> prepare_all(Database& db) {
    waiting_.reserve(rows_max);
    for (const auto& [statement, rows] : {std::pair{&insert_, std::size_t{1}}, std::pair{&insert_many_, rows_max}}) {
      auto prepared = db.prepare(insert_sql(rows));
      if (!prepared) return prepared.error();
      *statement = std::move(*prepared);
    }
    return {};
  }

  /// The record must stay where it is until `write` or `clear`. Call `write` once this is full.
  void add(std::int64_t stream, std::uint64_t version, const Record& record) {
    waiting_.push_back({stream, version, &record, RecordMeta(record, stream, version)});
  }

  bool full() const noexcept { return waiting_.size() == rows_max; }
  void clear() noexcept { waiting_.clear(); }

  /// Writes all that wait. After an error the transaction must be undone.
  Result<void> write() {
    Result<void> written = full() ? write_many() : write_each();
    clear();
    return written;
  }

 private:
  static constexpr std::size_t rows_max = 16;
  static constexpr int columns = 5;
  static constexpr std::string_view doing = "writing a record";

  struct Waiting {
    std::int64_t stream;
    std::uint64_t version;
    const Record* record;
    RecordMeta meta;
  };

  static std::string insert_sql(std::size_t rows) {
    // Whoever gets an error undoes the transaction: no statement needs to be undone alone, which would copy pages first.
    std::string sql =
        "INSERT OR FAIL INTO aura_journal_records(stream, version, type, meta, payload) VALUES(?, ?, ?, ?, ?)";
    for (std::size_t i = 1; i < rows; ++i) sql += ", (?, ?, ?, ?, ?)";
    return sql;
  }

  static void bind(Statement& statement, int first, const Waiting& row) {
    statement.bind_from(first, row.stream, row.version, row.record->type, Blob{row.meta.view()},
                        Blob{row.record->payload});
  }

  Result<void> write_many() {
    int first = 1;
    for (const Waiting& row : waiting_) {
      bind(insert_many_, first, row);
      first += columns;
    }
    return insert_many_.run(doing);
  }

  Result<void> write_each() {
    for (const Waiting& row : waiting_) {
      bind(insert_, 1, row);
      if (auto written = insert_.run(doing); !written) return written;
    }
    return {};
  }

  Statement insert_, insert_many_;
  std::vector<Waiting> waiting_;
};

}  // namespace aura::sqlite::detail
