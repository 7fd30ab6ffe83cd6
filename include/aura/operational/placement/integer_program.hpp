// A placement model as an integer program: for solvers that take rows and columns.
#pragma once

#include <aura/operational/placement/model.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace aura {

/// Minimise the sum of cost · column, each column between 0 and its upper end. There are
/// - a binary column for each choice that a task is allowed, and a row for each task: one choice;
/// - a row for each node and resource. Load is measured in capacities, so that rows are scaled alike and a
///   solver's tolerance is one relative to capacity. Where load has a price, the row says that the load is the sum of its segments,
///   which are continuous columns between 0 and their widths: as the price is convex, the cheap ones fill first;
/// - a row for each group and node that can hold more members than `per_node_max`, and one where crowding has a price:
///   members less an excess column are at most 1.
///
/// Whatever the verifier accepts is a solution of it, so a bound on it is one on the problem. Not everything that a solver
/// takes for a solution is accepted by the verifier: tolerances are wider there. O(choices · resources) space and time.
/// The model must outlive it.
class IntegerProgram {
 public:
  struct Binary {
    std::uint32_t task, choice;
  };
  struct Column {
    double upper, cost;
  };
  /// lower ≤ row ≤ upper; lower is −∞ or equal to upper.
  struct Row {
    double lower, upper;
  };
  /// Columns [first, first + count) are the segments of the load on one resource of a node.
  struct Segments {
    std::size_t node, resource;
    int first, count;
  };
  /// This column is what a group has on a node beyond one.
  struct Excess {
    std::size_t group, node;
    int column;
  };

  explicit IntegerProgram(const PlacementModel& model) : model_(model) {
    add_choices();
    for (std::size_t i = 0; i < model.nodes(); ++i)
      for (std::size_t r = 0; r < model.resources(); ++r) add_load(i, r);
    for (std::size_t g = 0; g < model.groups(); ++g)
      for (std::size_t i = 0; i < model.nodes(); ++i) add_group(g, i);
  }

  const PlacementModel& model() const noexcept { return model_; }
  std::span<const Binary> binaries() const noexcept { return binaries_; }  ///< columns 0, 1, …
  /// The binaries of a task are [begin(task), begin(task + 1)).
  std::size_t begin(std::size_t task) const noexcept { return begins_[task]; }
  std::span<const Column> columns() const noexcept { return columns_; }
  std::span<const Row> rows() const noexcept { return rows_; }
  std::span<const Segments> segments() const noexcept { return segments_; }
  std::span<const Excess> excesses() const noexcept { return excesses_; }

  std::size_t coefficients() const noexcept { return values_.size(); }
  /// The columns that have a coefficient in this row, and those coefficients.
  std::span<const int> columns_of(std::size_t row) const noexcept {
    return {columns_in_.data() + ends_[row], ends_[row + 1] - ends_[row]};
  }
  std::span<const double> values_of(std::size_t row) const noexcept {
    return {values_.data() + ends_[row], ends_[row + 1] - ends_[row]};
  }

  /// The choice of each task whose column is largest: what a solution says, once it is rounded.
  Placement placement_of(std::span<const double> solution) const {
    Placement placement;
    for (std::size_t j = 0; j < model_.tasks(); ++j) {
      const auto first = solution.begin() + static_cast<std::ptrdiff_t>(begin(j));
      const auto last = solution.begin() + static_cast<std::ptrdiff_t>(begin(j + 1));
      const auto most = static_cast<std::size_t>(std::max_element(first, last) - solution.begin());
      placement.push_back(first == last ? not_placed : model_.node_of(binaries_[most].choice));
    }
    return placement;
  }

  /// Equal for models whose bases can serve each other: the same choices, rows and columns.
  std::uint64_t shape() const noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
    for (const Binary& binary : binaries_) mix((std::uint64_t{binary.task} << 32) | binary.choice);
    mix(rows_.size());
    mix(columns_.size());
    for (const Segments& segments : segments_) mix(static_cast<std::uint64_t>(segments.count));
    return hash;
  }

 private:
  static constexpr double free_below = -std::numeric_limits<double>::infinity();
  static constexpr double unbounded = std::numeric_limits<double>::infinity();

  /// The row that entries are added to from here on.
  void add_row(double lower, double upper) {
    rows_.push_back({lower, upper});
    ends_.push_back(values_.size());
  }
  int add_column(double upper, double cost) {
    columns_.push_back({upper, cost});
    return static_cast<int>(columns_.size()) - 1;
  }
  void add_entry(int column, double value) {
    columns_in_.push_back(column);
    values_.push_back(value);
    ends_.back() = values_.size();
  }

  /// -1 where the task may not go there.
  int column_of(std::size_t task, std::size_t choice) const noexcept {
    const auto end = binaries_.begin() + static_cast<std::ptrdiff_t>(begins_[task + 1]);
    const auto at = std::lower_bound(binaries_.begin() + static_cast<std::ptrdiff_t>(begins_[task]), end, choice,
                                     [](const Binary& binary, std::size_t wanted) { return binary.choice < wanted; });
    return at == end || at->choice != choice ? -1 : static_cast<int>(at - binaries_.begin());
  }

  void add_choices() {
    for (std::size_t j = 0; j < model_.tasks(); ++j) {
      begins_.push_back(binaries_.size());
      add_row(1, 1);
      for (std::size_t c = 0; c < model_.choices(); ++c)
        if (model_.allowed(j, c)) {
          binaries_.push_back({static_cast<std::uint32_t>(j), static_cast<std::uint32_t>(c)});
          add_entry(add_column(1, model_.cost(j, c)), 1);
        }
    }
    begins_.push_back(binaries_.size());
  }

  void add_load(std::size_t node, std::size_t resource) {
    const ConvexPrice& price = model_.price(node, resource);
    const double capacity = price.capacity();
    if (capacity <= 0) return;  // what is allowed there demands nothing
    members_.clear();
    double all = 0;
    for (std::size_t j = 0; j < model_.tasks(); ++j)
      if (const double demand = model_.demand(j, node, resource); demand > 0)
        if (const int column = column_of(j, node); column >= 0) members_.push_back({column, demand}), all += demand;
    if (members_.empty() || (price.is_free() && all <= capacity)) return;
    // The most that a verifier lets pass, so that the bound holds for all that it lets pass.
    const double end = capacity * (1 + capacity_tolerance);
    price.is_free() ? add_row(free_below, end / capacity) : add_row(0, 0);
    for (const Member& member : members_) add_entry(member.column, member.demand / capacity);
    if (!price.is_free()) add_segments(node, resource, end);
  }

  void add_segments(std::size_t node, std::size_t resource, double end) {
    const ConvexPrice& price = model_.price(node, resource);
    const double capacity = price.capacity();
    Segments segments{node, resource, static_cast<int>(columns_.size()), 0};
    double from = 0, slope = 0;
    const auto add = [&](double to) {
      if (to <= from) return;
      add_entry(add_column((to - from) / capacity, slope * capacity), -1);
      ++segments.count;
      from = to;
    };
    for (const LoadPrice::Piece& piece : price.pieces()) {
      add(std::min(piece.from, end));
      slope = piece.per_unit;
    }
    add(end);
    segments_.push_back(segments);
  }

  void add_group(std::size_t index, std::size_t node) {
    const PlacementModel::Group group = model_.group(index);
    members_.clear();
    for (const std::uint32_t task : group.tasks)
      if (const int column = column_of(task, node); column >= 0) members_.push_back({column, 1});
    if (members_.size() > group.per_node_max) {
      add_row(free_below, static_cast<double>(group.per_node_max));
      for (const Member& member : members_) add_entry(member.column, 1);
    }
    if (group.crowding_price > 0 && members_.size() > 1) {
      add_row(free_below, 1);
      for (const Member& member : members_) add_entry(member.column, 1);
      excesses_.push_back({index, node, add_column(unbounded, group.crowding_price)});
      add_entry(excesses_.back().column, -1);
    }
  }

  struct Member {
    int column;
    double demand;
  };

  const PlacementModel& model_;
  std::vector<Binary> binaries_;
  std::vector<std::size_t> begins_;
  std::vector<Column> columns_;
  std::vector<Row> rows_;
  std::vector<Segments> segments_;
  std::vector<Excess> excesses_;
  std::vector<std::size_t> ends_{0};  ///< of the rows' entries, from the second one on
  std::vector<int> columns_in_;
  std::vector<double> values_;
  std::vector<Member> members_;
};

}  // namespace aura
