// Retention: closed streams are removed, oldest first, in bounded batches.
#pragma once

#include <aura/sqlite/detail/appender.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace aura::sqlite::detail {

class Pruner {
 public:
  explicit Pruner(Session& session) : session_(session) {}

  Result<void> prepare_all() {
    const std::pair<Statement*, const char*> all[] = {
        {&oldest_,
         "SELECT id, name, closed FROM aura_journal_streams INDEXED BY aura_journal_by_closing"
         " WHERE kind = ? AND closed IS NOT NULL ORDER BY closed, id LIMIT ?"},
        {&remove_records_, "DELETE FROM aura_journal_records WHERE stream = ?"},
        {&remove_attributes_, "DELETE FROM aura_journal_attributes WHERE stream = ?"},
        {&remove_stream_, "DELETE FROM aura_journal_streams WHERE id = ?"},
    };
    for (const auto& [statement, sql] : all) {
      auto prepared = session_.db().prepare(sql);
      if (!prepared) return prepared.error();
      *statement = std::move(*prepared);
    }
    return {};
  }

  Result<std::size_t> prune(const Retention& retention) {
    const auto surplus = surplus_of(retention);
    if (!surplus) return surplus.error();
    const auto doomed = choose(retention, *surplus);
    if (!doomed) return doomed.error();
    if (auto written = session_.write_records(); !written) return written.error();
    for (const auto& [id, name] : *doomed) {
      for (Statement* statement : {&remove_records_, &remove_attributes_, &remove_stream_})
        if (auto removed = session_.run(*statement, "removing a stream", id); !removed) return removed.error();
      session_.heads().erase(name);
      session_.counted(retention.kind, false, -1);
    }
    return doomed->size();
  }

 private:
  using Doomed = std::vector<std::pair<std::int64_t, std::string>>;

  /// How many closed streams there are beyond the count to keep.
  Result<std::uint64_t> surplus_of(const Retention& retention) {
    if (!retention.closed_kept_max) return std::uint64_t{0};
    const auto closed = session_.count(retention.kind, false);
    if (!closed) return closed.error();
    return *closed - std::min(*closed, *retention.closed_kept_max);
  }

  Result<Doomed> choose(const Retention& retention, std::uint64_t surplus) {
    Doomed doomed;
    const auto limit = static_cast<std::int64_t>(std::min<std::uint64_t>(retention.limit, 1u << 30));
    const auto read = session_.each(
        oldest_, "looking for what to remove",
        [&](Row row) {
          const bool too_old = retention.closed_before && row.integer(2) < ticks(*retention.closed_before);
          if (doomed.size() >= surplus && !too_old) return false;
          doomed.emplace_back(row.integer(0), row.text(1));
          return true;
        },
        retention.kind, limit);
    if (!read) return read.error();
    return doomed;
  }

  Session& session_;
  Statement oldest_, remove_records_, remove_attributes_, remove_stream_;
};

}  // namespace aura::sqlite::detail
