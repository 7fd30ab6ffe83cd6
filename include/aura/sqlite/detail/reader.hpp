// Everything that only reads, on a connection of its own: it sees every commit that was acknowledged before.
#pragma once

#include <aura/sqlite/database.hpp>
#include <aura/sqlite/detail/find_sql.hpp>
#include <aura/sqlite/detail/record_meta.hpp>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura::sqlite::detail {

/// A machine of `Lane`. What it reads is checked: a file that was tampered with gives `corrupt`.
class Reader {
 public:
  static Result<std::unique_ptr<Reader>> open(Database db) {
    auto reader = std::unique_ptr<Reader>(new Reader(std::move(db)));
    if (auto ready = reader->prepare_all(); !ready) return ready.error();
    return reader;
  }

  /// One snapshot for all of `operations`.
  template <class Operations, class More>
  void run(Operations& operations, const More&) {
    auto begun = begin_.run("beginning to read");
    for (auto& operation : operations) attempt(*operation, begun);
    if (begun) end();
  }

  Result<std::vector<Record>> read(const std::string& name, std::uint64_t from, std::size_t max) {
    std::vector<Record> records;
    const auto id = find_id(name);
    if (!id) return id.error();
    if (!*id || from > static_cast<std::uint64_t>(integer_max) || max == 0) return records;
    bool sound = true;
    const auto read = read_.each(
        "reading records",
        [&](Row row) {
          const std::uint64_t version = from + records.size();
          auto record = static_cast<std::uint64_t>(row.integer(0)) == version
                            ? RecordMeta::decode(row.blob(2), row.text(1), row.blob(3), **id, version)
                            : std::nullopt;
          sound = record.has_value();
          if (record) records.push_back(std::move(*record));
          return sound;
        },
        **id, from, limit_of(max));
    if (!read) return read.error();
    if (!sound)
      return corrupt("record " + std::to_string(from + records.size()) + " of stream " +
                     aura::detail::in_quotes(name) + " is not what was written");
    return records;
  }

  Result<std::optional<StreamHead>> head(const std::string& name) {
    std::optional<Found> found;
    const auto read = head_.each(
        "looking for a stream",
        [&](Row row) {
          found = found_in(row);
          return false;
        },
        name);
    if (!read) return read.error();
    if (!found) return std::optional<StreamHead>();
    if (auto whole = complete(*found); !whole) return whole.error();
    return std::optional(std::move(found->head));
  }

  Result<StreamPage> find(const StreamQuery& query) {
    const std::size_t page_size = std::clamp<std::size_t>(query.limit, 1, aura::detail::find_limit_max);
    const auto after = aura::detail::parse_cursor(query.after, query.due_before.has_value());
    if (!after) return after.error();
    const auto plans = plans_of(query, *after, page_size + 1);
    if (!plans) return plans.error();
    std::vector<Found> found;
    for (const FindPlan& plan : *plans)
      if (auto ran = run_plan(plan, found); !ran) return ran.error();
    // Several plans, one for each state, are in order each.
    if (plans->size() > 1)
      std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.id < b.id; });
    StreamPage page;
    const bool more = found.size() > page_size;
    if (more) found.resize(page_size);
    if (more) page.next = cursor_after(query, found.back());
    for (Found& entry : found) {
      if (auto whole = complete(entry); !whole) return whole.error();
      page.streams.push_back(std::move(entry.head));
    }
    return page;
  }

 private:
  static constexpr std::int64_t integer_max = std::numeric_limits<std::int64_t>::max();
  static constexpr std::size_t shapes_max = 64;

  struct Found {
    std::int64_t id = 0;
    StreamHead head;
    bool sound = true;
  };

  explicit Reader(Database db) : db_(std::move(db)) {}

  Result<void> prepare_all() {
    const std::string head = std::string("SELECT ") + head_columns + " FROM aura_journal_streams s WHERE s.name = ?";
    const std::pair<Statement*, std::string> all[] = {
        {&begin_, "BEGIN"},
        {&commit_, "COMMIT"},
        {&find_id_, "SELECT id FROM aura_journal_streams WHERE name = ?"},
        {&read_,
         "SELECT version, type, meta, payload FROM aura_journal_records INDEXED BY aura_journal_by_version"
         " WHERE stream = ? AND version >= ? ORDER BY version LIMIT ?"},
        {&head_, head},
        {&last_,
         "SELECT version, meta FROM aura_journal_records INDEXED BY aura_journal_by_version"
         " WHERE stream = ? ORDER BY version DESC LIMIT 1"},
        {&attributes_,
         "SELECT name, value FROM aura_journal_attributes INDEXED BY aura_journal_by_stream"
         " WHERE stream = ? ORDER BY name"},
        // Hops from state to state in the index: as many steps as there are states, not streams.
        {&states_,
         "WITH RECURSIVE t(state) AS ("
         " SELECT min(state) FROM aura_journal_streams INDEXED BY aura_journal_by_state WHERE kind = ?1 AND open = ?2"
         " UNION ALL"
         " SELECT (SELECT min(state) FROM aura_journal_streams INDEXED BY aura_journal_by_state"
         "  WHERE kind = ?1 AND open = ?2 AND state > t.state)"
         " FROM t WHERE t.state IS NOT NULL)"
         " SELECT state FROM t WHERE state IS NOT NULL"},
    };
    for (const auto& [statement, sql] : all) {
      auto prepared = db_.prepare(sql);
      if (!prepared) return prepared.error();
      *statement = std::move(*prepared);
    }
    return {};
  }

  template <class Operation>
  void attempt(Operation& operation, const Result<void>& begun) try {
    if (begun)
      operation.run(*this);
    else
      operation.fail(begun.error());
  } catch (const std::exception& thrown) {
    operation.fail(Error(journal_errc::io, ErrorClass::transient, db_.path() + ": " + thrown.what()));
  }

  void end() {
    if (!commit_.run("ending to read") && db_.in_transaction())
      sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }

  Error corrupt(const std::string& what) const {
    return Error(journal_errc::corrupt, ErrorClass::permanent, db_.path() + ": " + what);
  }

  static std::int64_t limit_of(std::size_t max) noexcept {
    return static_cast<std::int64_t>(std::min<std::uint64_t>(max, static_cast<std::uint64_t>(integer_max)));
  }

  Result<std::optional<std::int64_t>> find_id(const std::string& name) {
    std::optional<std::int64_t> id;
    const auto read = find_id_.each(
        "looking for a stream",
        [&](Row row) {
          id = row.integer(0);
          return false;
        },
        name);
    if (!read) return read.error();
    return id;
  }

  static std::string cursor_after(const StreamQuery& query, const Found& last) {
    return aura::detail::to_text({last.id, last.head.due.value_or(WallTime::min())}, query.due_before.has_value());
  }

  /// One plan, or several whose rows are to be merged in order of id. Each gives at most `rows_max` rows.
  Result<std::vector<FindPlan>> plans_of(const StreamQuery& query, const aura::detail::PageCursor& after,
                                         std::size_t rows_max) {
    std::vector<FindPlan> plans;
    if (query.due_before || !query.attributes.empty()) {
      plans.push_back(query.due_before ? due_plan(query, after, rows_max) : attribute_plan(query, after, rows_max));
      return plans;
    }
    for (const bool open : {true, false}) {
      if (query.open.value_or(open) != open) continue;
      const auto states =
          query.state ? Result<std::vector<std::string>>({*query.state}) : states_of(query.kind, open);
      if (!states) return states.error();
      for (const std::string& state : *states) plans.push_back(state_plan(query, open, state, after, rows_max));
    }
    return plans;
  }

  Result<std::vector<std::string>> states_of(const std::string& kind, bool open) {
    std::vector<std::string> states;
    const auto read = states_.each(
        "looking for states",
        [&](Row row) {
          states.emplace_back(row.text(0));
          return true;
        },
        kind, open);
    if (!read) return read.error();
    return states;
  }

  Result<void> run_plan(const FindPlan& plan, std::vector<Found>& found) {
    const auto known = plans_.find(plan.sql);
    if (known == plans_.end()) {
      if (plans_.size() >= shapes_max) plans_.clear();
      auto prepared = db_.prepare(plan.sql);
      if (!prepared) return prepared.error();
      plans_.emplace(plan.sql, std::move(*prepared));
    }
    return plans_.find(plan.sql)->second.each_bound(
        "looking for streams",
        [&](Row row) {
          found.push_back(found_in(row));
          return true;
        },
        plan.values);
  }

  static Found found_in(Row row) {
    Found found;
    found.id = row.integer(0);
    StreamHead& head = found.head;
    head.stream = row.text(1);
    head.kind = row.text(2);
    head.state = row.text(3);
    head.open = row.integer(4) != 0;
    if (!row.text(5).empty()) {
      auto holder = HolderId::parse(row.text(5));
      found.sound = holder.has_value();
      if (holder) head.holder = std::move(*holder);
    }
    head.token = FencingToken{static_cast<std::uint64_t>(row.integer(6))};
    if (!row.null(7)) head.due = WallTime(Duration(row.integer(7)));
    head.created = WallTime(Duration(row.integer(8)));
    return found;
  }

  /// What stands in other tables: the last record's version and time, and the attributes.
  Result<void> complete(Found& found) {
    bool has_records = false;
    auto read = last_.each(
        "reading a record",
        [&](Row row) {
          has_records = true;
          found.head.version = static_cast<std::uint64_t>(row.integer(0)) + 1;
          found.head.updated = RecordMeta::at(row.blob(1));
          return false;
        },
        found.id);
    if (!read) return read;
    if (!has_records || !found.sound)
      return corrupt("stream " + aura::detail::in_quotes(found.head.stream) + " is not what was written");
    return attributes_.each(
        "reading attributes",
        [&](Row row) {
          found.head.attributes.emplace_back(row.text(0), row.text(1));
          return true;
        },
        found.id);
  }

  Database db_;
  Statement begin_, commit_, find_id_, read_, head_, last_, attributes_, states_;
  std::map<std::string, Statement, std::less<>> plans_;  ///< prepared queries by their text; few shapes occur
};

}  // namespace aura::sqlite::detail
