// Who is where: the tables of nodes and tasks that a schedule keeps, and how full each node is.
#pragma once

#include <aura/operational/detail/bounded_map.hpp>
#include <aura/operational/dispatcher.hpp>
#include <aura/operational/placement/convex_price.hpp>
#include <aura/operational/placement/schedule_event.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace aura::detail {

enum class TaskPhase : std::uint8_t { free, waiting, placed, running };

struct ScheduleTaskRow {
  TaskPhase phase = TaskPhase::free;
  bool preempted = false;  ///< so what its present stay takes says nothing
  bool declared = false;  ///< of a class that declared its arrivals: it stays on its home
  std::uint32_t class_index = 0, generation = 0;
  std::uint32_t version = 0;  ///< grows with every change that an optimiser must know of
  std::uint32_t overtaken = 0;
  NodeIndex node = not_placed;  ///< of a declared one that waits: its home
  std::uint32_t next = no_index, previous = no_index;  ///< of its node's tasks, or of those that wait
  std::uint32_t next_mate = no_index, previous_mate = no_index, mates = no_index;  ///< of its group
  std::uint64_t key = 0, group = 0, fence = 0;
  double size = 1;
  double done_share = 0;  ///< that will not have to be done again
  double work = 0;        ///< as the dispatcher counts it
  SteadyTime submitted{}, placed_at{}, started_at{};
  Duration wait{};   ///< that was predicted when it was placed
  Duration bound{};  ///< that it was promised, from `submitted` on
  DispatchTicket ticket{};
};

struct ScheduleNodeRow {
  ScheduleNode given{};
  std::uint32_t generation = 0, estimator_index = 0;
  std::uint32_t first = no_index;
  std::uint32_t tasks = 0, running = 0;
  std::uint32_t taken_since_sum = 0;
  double work = 0;  ///< outstanding, as the dispatcher counts it
};

/// First in, first out, linked through the rows.
struct TaskList {
  std::uint32_t first = no_index, last = no_index;
  std::size_t size = 0;
};

class ScheduleTables {
 public:
  explicit ScheduleTables(const ScheduleOptions& options, std::uint64_t hash_seed)
      : classes_(options.classes),
        resources_(options.resources.size()),
        rows_(options.tasks_max),
        nodes_(options.nodes_max),
        demands_(options.tasks_max * resources_),
        loads_(options.nodes_max * resources_),
        groups_(options.tasks_max, hash_seed),
        mates_on_(options.nodes_max) {
    for (std::uint32_t i = 0; i < rows_.size(); ++i) rows_[i].next = i + 1 < rows_.size() ? i + 1 : no_index;
    free_ = rows_.empty() ? no_index : 0;
  }

  std::size_t resources() const noexcept { return resources_; }
  std::size_t nodes() const noexcept { return nodes_.size(); }
  std::size_t tasks() const noexcept { return tasks_; }
  ScheduleNodeRow& node(NodeIndex index) noexcept { return nodes_[index]; }
  const ScheduleNodeRow& node(NodeIndex index) const noexcept { return nodes_[index]; }
  ScheduleTaskRow& task(std::uint32_t index) noexcept { return rows_[index]; }
  const ScheduleTaskRow& task(std::uint32_t index) const noexcept { return rows_[index]; }
  const ScheduleClass& class_of(std::uint32_t index) const noexcept { return classes_[rows_[index].class_index]; }
  const TaskList& waiting() const noexcept { return waiting_; }
  bool is_full() const noexcept { return free_ == no_index; }
  TaskId id_of(std::uint32_t index) const noexcept { return {index, rows_[index].generation}; }
  TaskPlacement placement_of(std::uint32_t index) const noexcept {
    const ScheduleTaskRow& row = rows_[index];
    return {id_of(index), row.key, row.phase == TaskPhase::waiting ? not_placed : row.node, row.fence};
  }
  std::span<const double> demand(std::uint32_t index) const noexcept {
    return {demands_.data() + index * resources_, resources_};
  }
  std::span<const double> load(NodeIndex index) const noexcept {
    return {loads_.data() + index * resources_, resources_};
  }

  /// no_index where it is known no more.
  std::uint32_t find(TaskId id) const noexcept {
    const bool known = id.index < rows_.size() && rows_[id.index].generation == id.generation &&
                       rows_[id.index].phase != TaskPhase::free;
    return known ? id.index : no_index;
  }

  /// A new row, nowhere yet. There is room.
  std::uint32_t add(const ScheduleTask& task, SteadyTime now) {
    const std::uint32_t index = free_;
    ++tasks_;
    const std::uint32_t generation = rows_[index].generation;
    free_ = rows_[index].next;
    ScheduleTaskRow& row = rows_[index] = ScheduleTaskRow{};
    row.generation = generation;
    row.class_index = task.class_index;
    row.key = task.key;
    row.size = task.size;
    row.submitted = now;
    const ScheduleClass& its = classes_[task.class_index];
    const std::span<const double> given = task.demand.empty() ? std::span<const double>(its.demand) : task.demand;
    std::ranges::copy(given, demands_.begin() + static_cast<std::ptrdiff_t>(index * resources_));
    if (task.group != 0 && has_rule(its)) join_group(index, task.group);
    return index;
  }
  /// It is nowhere: neither on a node nor waiting.
  void remove(std::uint32_t index) {
    leave_group(index);
    --tasks_;
    ScheduleTaskRow& row = rows_[index];
    row.phase = TaskPhase::free;
    ++row.generation;
    row.next = free_;
    free_ = index;
  }

  void wait(std::uint32_t index) {
    ScheduleTaskRow& row = rows_[index];
    row.phase = TaskPhase::waiting;
    row.previous = waiting_.last;
    row.next = no_index;
    (waiting_.last == no_index ? waiting_.first : rows_[waiting_.last].next) = index;
    waiting_.last = index;
    ++waiting_.size;
  }
  void stop_waiting(std::uint32_t index) noexcept {
    const ScheduleTaskRow& row = rows_[index];
    (row.previous == no_index ? waiting_.first : rows_[row.previous].next) = row.next;
    (row.next == no_index ? waiting_.last : rows_[row.next].previous) = row.previous;
    --waiting_.size;
  }

  /// On `node`, and not begun.
  void put(std::uint32_t index, NodeIndex at) {
    ScheduleTaskRow& row = rows_[index];
    ScheduleNodeRow& node = nodes_[at];
    row.phase = TaskPhase::placed;
    row.node = at;
    row.previous = no_index;
    row.next = node.first;
    if (node.first != no_index) rows_[node.first].previous = index;
    node.first = index;
    ++node.tasks;
    node.work += row.work;
    for (std::size_t r = 0; r < resources_; ++r) loads_[at * resources_ + r] += demand(index)[r];
  }
  void take(std::uint32_t index) {
    const ScheduleTaskRow& row = rows_[index];
    ScheduleNodeRow& node = nodes_[row.node];
    (row.previous == no_index ? node.first : rows_[row.previous].next) = row.next;
    if (row.next != no_index) rows_[row.next].previous = row.previous;
    --node.tasks;
    if (row.phase == TaskPhase::running) --node.running;
    node.work -= row.work;
    for (std::size_t r = 0; r < resources_; ++r) loads_[row.node * resources_ + r] -= demand(index)[r];
    if (node.tasks == 0 || ++node.taken_since_sum == 1024) sum_up(row.node);
  }

  bool suits(std::uint32_t index, NodeIndex at) const noexcept {
    const std::uint64_t needs = class_of(index).needs;
    return (nodes_[at].given.labels & needs) == needs;
  }
  bool would_fit_empty(std::uint32_t index, NodeIndex at) const noexcept { return fits_beside(index, at, false); }
  bool fits(std::uint32_t index, NodeIndex at) const noexcept { return fits_beside(index, at, true); }
  bool is_within(NodeIndex at, std::span<const double> load) const noexcept {
    for (std::size_t r = 0; r < resources_; ++r)
      if (!within(load[r], nodes_[at].given.capacity[r])) return false;
    return true;
  }

  /// How many of the task's group are on each node, itself not counted; empty where it has none.
  std::span<const std::uint32_t> mates_by_node(std::uint32_t index) {
    if (rows_[index].mates == no_index) return {};
    std::ranges::fill(mates_on_, 0u);
    for_each_mate(index, [&](std::uint32_t mate) {
      const ScheduleTaskRow& row = rows_[mate];
      if (mate != index && row.phase != TaskPhase::waiting && row.node != not_placed) ++mates_on_[row.node];
    });
    return mates_on_;
  }
  template <class F>
  void for_each_mate(std::uint32_t index, F visit) {
    if (rows_[index].mates == no_index) return;
    for (std::uint32_t at = groups_[rows_[index].mates].first; at != no_index; at = rows_[at].next_mate) visit(at);
  }
  template <class F>
  void for_each_on(NodeIndex node, F visit) const {
    for (std::uint32_t at = nodes_[node].first; at != no_index;) {
      const std::uint32_t next = rows_[at].next;
      visit(at);
      at = next;
    }
  }
  template <class F>
  void for_each_waiting(F visit) const {
    for (std::uint32_t at = waiting_.first; at != no_index;) {
      const std::uint32_t next = rows_[at].next;
      visit(at);
      at = next;
    }
  }

 private:
  struct GroupKey {
    std::uint64_t group = 0;
    std::uint32_t class_index = 0;
    friend bool operator==(const GroupKey&, const GroupKey&) = default;
  };
  struct GroupHash {
    std::size_t operator()(const GroupKey& key) const noexcept {
      return static_cast<std::size_t>(key.group * 64 + key.class_index);
    }
  };
  struct Head {
    std::uint32_t first = no_index;
  };
  static bool has_rule(const ScheduleClass& its) noexcept {
    return its.per_node_max != std::numeric_limits<std::size_t>::max() || its.crowding_price > 0;
  }
  static bool within(double load, double capacity) noexcept {
    return load <= capacity + capacity * (capacity_tolerance / 10);
  }
  bool fits_beside(std::uint32_t index, NodeIndex at, bool others) const noexcept {
    for (std::size_t r = 0; r < resources_; ++r)
      if (!within(demand(index)[r] + (others ? load(at)[r] : 0), nodes_[at].given.capacity[r])) return false;
    return true;
  }

  // Sums of fractions drift: they are made anew now and then.
  void sum_up(NodeIndex at) {
    ScheduleNodeRow& node = nodes_[at];
    node.taken_since_sum = 0;
    node.work = 0;
    std::fill_n(loads_.begin() + static_cast<std::ptrdiff_t>(at * resources_), resources_, 0.0);
    for_each_on(at, [&](std::uint32_t index) {
      node.work += rows_[index].work;
      for (std::size_t r = 0; r < resources_; ++r) loads_[at * resources_ + r] += demand(index)[r];
    });
  }

  // There are as many entries as tasks, so there is always room for one more group.
  void join_group(std::uint32_t index, std::uint64_t group) {
    ScheduleTaskRow& row = rows_[index];
    row.group = group;
    row.mates = groups_.find_or_add({group, row.class_index});
    std::uint32_t& first = groups_[row.mates].first;
    row.next_mate = first;
    if (first != no_index) rows_[first].previous_mate = index;
    first = index;
  }
  void leave_group(std::uint32_t index) {
    ScheduleTaskRow& row = rows_[index];
    if (row.mates == no_index) return;
    (row.previous_mate == no_index ? groups_[row.mates].first : rows_[row.previous_mate].next_mate) = row.next_mate;
    if (row.next_mate != no_index) rows_[row.next_mate].previous_mate = row.previous_mate;
    if (groups_[row.mates].first == no_index) groups_.erase(row.mates);
    row.mates = no_index;
  }

  std::vector<ScheduleClass> classes_;
  std::size_t resources_;
  std::vector<ScheduleTaskRow> rows_;
  std::vector<ScheduleNodeRow> nodes_;
  std::vector<double> demands_;  ///< [task][resource]
  std::vector<double> loads_;    ///< [node][resource]
  BoundedMap<GroupKey, Head, GroupHash> groups_;
  std::vector<std::uint32_t> mates_on_;
  TaskList waiting_;
  std::uint32_t free_ = no_index;
  std::size_t tasks_ = 0;
};

}  // namespace aura::detail
