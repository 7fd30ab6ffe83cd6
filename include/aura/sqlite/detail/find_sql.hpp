// A `StreamQuery` as SQL that an index answers in the order of the pages.
#pragma once

#include <aura/durable/detail/journal_rules.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace aura::sqlite::detail {

/// Text to prepare, and what to bind to it in order.
struct FindPlan {
  std::string sql;
  std::vector<std::variant<std::int64_t, std::string>> values;

  void add(std::string_view text) { sql += text; }
  template <class Value>
  void add(std::string_view text, Value value) {
    sql += text;
    if constexpr (std::is_convertible_v<Value, std::string>)
      values.emplace_back(std::string(std::move(value)));
    else
      values.emplace_back(static_cast<std::int64_t>(value));
  }
};

/// Of `aura_journal_streams s`.
inline constexpr const char* head_columns =
    "s.id, s.name, s.kind, s.state, s.open, s.holder, s.token, s.due, s.created";

/// What the chosen index does not answer is filtered, row by row.
inline void add_filters(FindPlan& plan, const StreamQuery& query, std::size_t attributes_from) {
  if (query.state) plan.add(" AND s.state = ?", *query.state);
  if (query.open) plan.add(" AND s.open = ?", *query.open ? 1 : 0);
  for (std::size_t i = attributes_from; i < query.attributes.size(); ++i) {
    plan.add(" AND EXISTS (SELECT 1 FROM aura_journal_attributes f WHERE f.kind = s.kind");
    plan.add(" AND f.name = ?", query.attributes[i].first);
    plan.add(" AND f.value = ? AND f.stream = s.id)", query.attributes[i].second);
  }
}

inline FindPlan due_plan(const StreamQuery& query, const aura::detail::PageCursor& after, std::size_t rows_max) {
  FindPlan plan;
  plan.add(std::string("SELECT ") + head_columns + " FROM aura_journal_streams s INDEXED BY aura_journal_by_due");
  plan.add(" WHERE s.due IS NOT NULL AND s.kind = ?", query.kind);
  plan.add(" AND s.due <= ?", query.due_before->time_since_epoch().count());
  plan.add(" AND (s.due, s.id) > (?", after.due.time_since_epoch().count());
  plan.add(", ?)", after.number);
  add_filters(plan, query, 0);
  plan.add(" ORDER BY s.due, s.id LIMIT ?", rows_max);
  return plan;
}

inline FindPlan attribute_plan(const StreamQuery& query, const aura::detail::PageCursor& after,
                               std::size_t rows_max) {
  FindPlan plan;
  plan.add(std::string("SELECT ") + head_columns +
           " FROM aura_journal_attributes a CROSS JOIN aura_journal_streams s");
  plan.add(" WHERE s.id = a.stream AND a.kind = ?", query.kind);
  plan.add(" AND a.name = ?", query.attributes.front().first);
  plan.add(" AND a.value = ?", query.attributes.front().second);
  plan.add(" AND a.stream > ?", after.number);
  add_filters(plan, query, 1);
  plan.add(" ORDER BY a.stream LIMIT ?", rows_max);
  return plan;
}

/// What is open, or closed, and in one state. Without a state in the query there is one plan for each that occurs.
inline FindPlan state_plan(const StreamQuery& query, bool open, const std::string& state,
                           const aura::detail::PageCursor& after, std::size_t rows_max) {
  FindPlan plan;
  plan.add(std::string("SELECT ") + head_columns + " FROM aura_journal_streams s INDEXED BY aura_journal_by_state");
  plan.add(" WHERE s.kind = ?", query.kind);
  plan.add(" AND s.open = ?", open ? 1 : 0);
  plan.add(" AND s.state = ?", state);
  plan.add(" AND s.id > ?", after.number);
  plan.add(" ORDER BY s.id LIMIT ?", rows_max);
  return plan;
}

}  // namespace aura::sqlite::detail
