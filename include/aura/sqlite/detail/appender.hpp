// Batches: checked by reads first, and only then written, so that a refused one harms no other of its group.
#pragma once

#include <aura/durable/detail/journal_rules.hpp>
#include <aura/sqlite/detail/record_meta.hpp>
#include <aura/sqlite/detail/session.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura::sqlite::detail {

inline std::int64_t ticks(WallTime time) noexcept { return time.time_since_epoch().count(); }

inline std::optional<std::int64_t> ticks(const std::optional<WallTime>& time) noexcept {
  if (!time) return std::nullopt;
  return ticks(*time);
}

class Appender {
 public:
  explicit Appender(Session& session) : session_(session) {}

  Result<void> prepare_all() {
    const std::pair<Statement*, const char*> all[] = {
        {&find_head_,
         "SELECT id, token, due, kind, state, open,"
         " (SELECT max(version) FROM aura_journal_records WHERE stream = aura_journal_streams.id)"
         " FROM aura_journal_streams WHERE name = ?"},
        {&last_meta_, "SELECT meta FROM aura_journal_records WHERE stream = ? ORDER BY version DESC LIMIT 1"},
        {&insert_stream_,
         "INSERT INTO aura_journal_streams(name, kind, state, open, holder, token, due, created, closed)"
         " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(name) DO NOTHING"},
        {&update_due_, "UPDATE aura_journal_streams SET due = ? WHERE id = ?"},
        {&update_index_,
         "UPDATE aura_journal_streams SET state = ?1, open = ?2, due = ?3,"
         " closed = CASE WHEN ?2 THEN NULL ELSE coalesce(closed, ?4) END WHERE id = ?5"},
        {&delete_attributes_, "DELETE FROM aura_journal_attributes WHERE stream = ?"},
        {&insert_attribute_, "INSERT INTO aura_journal_attributes(kind, name, value, stream) VALUES(?, ?, ?, ?)"},
    };
    for (const auto& [statement, sql] : all) {
      auto prepared = session_.db().prepare(sql);
      if (!prepared) return prepared.error();
      *statement = std::move(*prepared);
    }
    return {};
  }

  /// The batch has passed `check_batch`. A hot append (its head is remembered, its index stays) is one row.
  Result<void> commit(const Batch& batch) {
    heads_.clear();
    for (std::size_t i = 0; i < batch.appends.size(); ++i)
      if (auto accepted = check(batch, i); !accepted) return accepted;
    // Before the records: undoing it then leaves what is remembered of streams true.
    if (batch.effect)
      if (auto done = session_.run_effect(batch.effect); !done) return done;
    for (std::size_t i = 0; i < batch.appends.size(); ++i) {
      const Append& append = batch.appends[i];
      auto written = append.birth ? begin(append) : extend(append, *heads_[i]);
      if (!written) return written;
    }
    return {};
  }

  /// Null where there is no such stream. Good until `Session::trim`.
  Result<CachedHead*> find(const std::string& name) {
    if (CachedHead* known = session_.heads().find(name)) return known;
    if (auto written = session_.write_records(); !written) return written.error();
    CachedHead head;
    bool found = false, whole = true;
    const auto read = session_.each(
        find_head_, "looking for a stream",
        [&](Row row) {
          found = true;
          whole = !row.null(6);
          head.id = row.integer(0);
          head.token = FencingToken{static_cast<std::uint64_t>(row.integer(1))};
          if (!row.null(2)) head.due = row.integer(2);
          head.kind = row.text(3);
          head.state = row.text(4);
          head.open = row.integer(5) != 0;
          head.version = static_cast<std::uint64_t>(row.integer(6)) + 1;
          return false;
        },
        name);
    if (!read) return read.error();
    if (!found) return static_cast<CachedHead*>(nullptr);
    if (!whole) return session_.corrupt("stream " + aura::detail::in_quotes(name) + " has lost its records");
    return session_.heads().insert(name, std::move(head));
  }

 private:
  static constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

  Result<void> check(const Batch& batch, std::size_t position) {
    const Append& append = batch.appends[position];
    if (tells_by_itself(batch)) {
      heads_.push_back(nullptr);
      return {};
    }
    const auto found = find(append.stream);
    if (!found) return found.error();
    const CachedHead* const head = *found;
    heads_.push_back(*found);
    if (append.birth)
      return head == nullptr ? check_limit(batch, position) : aura::detail::stream_exists(append.stream);
    if (head == nullptr) return aura::detail::no_such_stream(append.stream);
    if (head->token != append.token) return aura::detail::fenced(append.stream, head->token, append.token);
    if (head->version != append.expected_version)
      return aura::detail::version_conflict(append.stream, head->version, append.expected_version);
    return {};
  }

  /// A batch that only begins one stream needs no look: its first statement says whether the stream is there.
  static bool tells_by_itself(const Batch& batch) {
    const auto& birth = batch.appends.front().birth;
    return birth && birth->open_of_kind_max == no_limit && batch.appends.size() == 1 && !batch.effect;
  }

  Result<void> check_limit(const Batch& batch, std::size_t position) {
    const StreamBirth& birth = *batch.appends[position].birth;
    if (birth.open_of_kind_max == no_limit || !batch.appends[position].index->open) return {};
    const auto open = session_.count(birth.kind, true);
    if (!open) return open.error();
    if (*open + aura::detail::opened_before(batch, position) >= birth.open_of_kind_max)
      return aura::detail::kind_full(birth.kind, birth.open_of_kind_max);
    return {};
  }

  Result<void> begin(const Append& append) {
    const StreamBirth& birth = *append.birth;
    const StreamIndex& index = *append.index;
    const std::int64_t created = ticks(append.records.front().at), closed = ticks(append.records.back().at);
    auto written = session_.run(insert_stream_, "beginning a stream", append.stream, birth.kind, index.state,
                                index.open, birth.holder.str(), static_cast<std::uint64_t>(append.token),
                                ticks(index.due), created, index.open ? std::nullopt : std::optional(closed));
    if (!written) return written;
    if (sqlite3_changes(session_.db().handle()) == 0) return aura::detail::stream_exists(append.stream);
    CachedHead head{sqlite3_last_insert_rowid(session_.db().handle()),
                    0,
                    append.token,
                    ticks(index.due),
                    birth.kind,
                    index.state,
                    index.open};
    session_.counted(head.kind, head.open, +1);
    if (written = insert_records(append, head); !written) return written;
    if (index.attributes)
      if (written = insert_attributes(append, head); !written) return written;
    if (head.open) session_.heads().insert(append.stream, std::move(head));
    return {};
  }

  Result<void> extend(const Append& append, CachedHead& head) {
    if (auto written = insert_records(append, head); !written) return written;
    if (!append.index) return {};
    if (auto written = set_index(append, head); !written) return written;
    if (append.index->attributes) {
      auto written = session_.run(delete_attributes_, "replacing attributes", head.id);
      if (written) written = insert_attributes(append, head);
      if (!written) return written;
    }
    if (!head.open) session_.heads().erase(append.stream);
    return {};
  }

  Result<void> insert_records(const Append& append, CachedHead& head) {
    for (const Record& record : append.records) {
      if (auto written = session_.add_record(head.id, head.version, record); !written) return written;
      ++head.version;
    }
    return {};
  }

  Result<void> insert_attributes(const Append& append, const CachedHead& head) {
    for (const auto& [name, value] : *append.index->attributes) {
      auto written = session_.run(insert_attribute_, "writing an attribute", head.kind, name, value, head.id);
      if (!written) return written;
    }
    return {};
  }

  /// Touches no more of the row and its indexes than has changed.
  Result<void> set_index(const Append& append, CachedHead& head) {
    const StreamIndex& index = *append.index;
    const auto due = ticks(index.due);
    Result<void> written;
    if (index.open != head.open || index.state != head.state) {
      const auto at = last_at(append, head);
      if (!at) return at.error();
      written = session_.run(update_index_, "indexing a stream", index.state, index.open, due, *at, head.id);
    } else if (due != head.due) {
      written = session_.run(update_due_, "indexing a stream", due, head.id);
    }
    if (!written) return written;
    if (index.open != head.open) {
      session_.counted(head.kind, head.open, -1);
      session_.counted(head.kind, index.open, +1);
    }
    head.open = index.open;
    head.state = index.state;
    head.due = due;
    return {};
  }

  /// When the stream's last record was decided, that of this append included.
  Result<std::int64_t> last_at(const Append& append, const CachedHead& head) {
    if (!append.records.empty()) return ticks(append.records.back().at);
    if (auto written = session_.write_records(); !written) return written.error();
    std::int64_t at = 0;
    const auto read = session_.each(
        last_meta_, "reading a record",
        [&](Row row) {
          at = ticks(RecordMeta::at(row.blob(0)));
          return false;
        },
        head.id);
    if (!read) return read.error();
    return at;
  }

  Session& session_;
  Statement find_head_, last_meta_, insert_stream_, update_due_, update_index_, delete_attributes_, insert_attribute_;
  std::vector<CachedHead*> heads_;  ///< of the batch that is being checked; null for a birth
};

}  // namespace aura::sqlite::detail
