// Which changes of a decision can be carried out together, in a schedule that has gone on since.
#pragma once

#include <aura/operational/dispatcher.hpp>
#include <aura/operational/placement/detail/schedule_tables.hpp>
#include <aura/operational/placement/schedule_decision.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace aura::detail {

/// Those whose task and node are as they were, less as many as it takes for every node to keep within its capacity and
/// every group within its `per_node_max`: without any change they do, so this ends. O(changes² · resources) at worst.
class ScheduleChanges {
 public:
  using Change = ScheduleDecision::Change;

  ScheduleChanges(ScheduleTables& tables, const Dispatcher& dispatcher, std::span<const Change> wanted)
      : tables_(tables), dispatcher_(dispatcher) {
    for (const Change& change : wanted) is_fresh(change) ? changes_.push_back(change) : void(++stale_);
    for (NodeIndex at = 0; at < tables_.nodes(); ++at)
      loads_.emplace_back(tables_.load(at).begin(), tables_.load(at).end());
    for (const Change& change : changes_) carry(change, 1);
    while (drop_one()) ++stale_;
  }

  std::span<const Change> changes() const noexcept { return changes_; }
  std::size_t stale() const noexcept { return stale_; }

 private:
  bool is_fresh(const Change& change) const {
    const std::uint32_t index = tables_.find(change.task.id);
    if (index == no_index || tables_.task(index).version != change.task.version) return false;
    if (change.to.index == not_placed) return true;
    return tables_.node(change.to.index).generation == change.to.generation &&
           dispatcher_.state(change.to.index) == NodeState::up;
  }

  NodeIndex from(const Change& change) const {
    const ScheduleTaskRow& row = tables_.task(change.task.id.index);
    return row.phase == TaskPhase::waiting ? not_placed : row.node;
  }
  void add(std::uint32_t index, NodeIndex at, double sign) {
    if (at == not_placed) return;
    for (std::size_t r = 0; r < tables_.resources(); ++r) loads_[at][r] += sign * tables_.demand(index)[r];
  }
  void carry(const Change& change, double sign) {
    add(change.task.id.index, from(change), -sign);
    add(change.task.id.index, change.to.index, sign);
  }

  bool drop_one() {
    for (std::size_t k = changes_.size(); k-- > 0;) {
      const NodeIndex to = changes_[k].to.index;
      if (to == not_placed || (tables_.is_within(to, loads_[to]) && !is_crowded(changes_[k]))) continue;
      carry(changes_[k], -1);
      changes_.erase(changes_.begin() + static_cast<std::ptrdiff_t>(k));
      return true;
    }
    return false;
  }

  bool is_crowded(const Change& change) {
    std::size_t mates = 0;
    tables_.for_each_mate(change.task.id.index, [&](std::uint32_t mate) {
      const auto moved = std::ranges::find(changes_, mate, [](const Change& each) { return each.task.id.index; });
      const ScheduleTaskRow& row = tables_.task(mate);
      const NodeIndex at = moved != changes_.end()           ? moved->to.index
                           : row.phase == TaskPhase::waiting ? not_placed
                                                             : row.node;
      if (at == change.to.index) ++mates;
    });
    return mates > tables_.class_of(change.task.id.index).per_node_max;
  }

  ScheduleTables& tables_;
  const Dispatcher& dispatcher_;
  std::vector<Change> changes_;
  std::vector<std::vector<double>> loads_;  ///< by node, with the changes
  std::size_t stale_ = 0;
};

}  // namespace aura::detail
