// What is to be placed where, and what it costs: tasks, nodes, groups, as a host describes them.
#pragma once

#include <aura/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace aura {

/// The position of a node in its problem.
using NodeIndex = std::uint32_t;

/// In place of a node: the task is rejected.
inline constexpr NodeIndex not_placed = std::numeric_limits<NodeIndex>::max();

/// One entry for each task, in the problem's order: its node, or `not_placed`.
using Placement = std::vector<NodeIndex>;

/// What a task was promised. The latency that is predicted for it is one of this percentile.
struct Sla {
  Duration target = Duration::max();  ///< up to here lateness costs nothing
  Duration maximum = Duration::max();  ///< beyond here the promise is broken
  double percentile = 0.99;  ///< 0 to 1, exclusive
  double penalty_per_ms = 0;  ///< for each millisecond beyond the target
  double penalty_broken = 0;  ///< once, beyond the maximum
};

/// A price of load on one resource of one node: convex and piecewise linear, so that what is placed together slows
/// each other. From `from` units of load upwards a further unit costs `per_unit`; before the first piece it is free.
struct LoadPrice {
  struct Piece {
    double from = 0;
    double per_unit = 0;
  };
  std::size_t resource = 0;
  std::vector<Piece> pieces{};  ///< in rising order of `from` and of `per_unit`: else it is not convex
};

struct PlacementNode {
  std::string name{};
  std::vector<double> capacity{};  ///< one for each resource
  double speed = 1;  ///< work of one second takes 1 / speed seconds here
  Duration queue{};  ///< what stands before anything that is placed now
  std::vector<LoadPrice> load_prices{};  ///< at most one for each resource
  bool accepting = true;  ///< false (draining): nothing is placed here but what is here already
};

struct PlacementTask {
  std::string name{};
  std::vector<double> demand{};  ///< one for each resource; empty where `demand_on` is given
  Duration work{};  ///< how long it takes, at its percentile, on an idle node of speed 1
  Sla sla{};
  std::optional<NodeIndex> current{};  ///< where it runs or waits now
  double move_price = 0;  ///< for leaving `current`
  bool pinned = false;  ///< stays at `current`
  std::optional<double> reject_price{};  ///< none: it must be placed
  std::vector<NodeIndex> allowed{};  ///< empty: every node
  std::vector<NodeIndex> preferred{};  ///< empty: every node
  double elsewhere_price = 0;  ///< for a node that is not preferred

  // Where nodes differ by more than their speed. Each is empty, or has one entry for each node.
  std::vector<Duration> latency_on{};  ///< instead of `work` by the node's speed
  std::vector<double> price_on{};  ///< in addition to everything else
  std::vector<double> demand_on{};  ///< instead of `demand`: node by node, each with one entry for each resource
};

/// Tasks that should not stand together.
struct PlacementGroup {
  std::string name{};
  std::vector<std::size_t> tasks{};
  std::size_t per_node_max = std::numeric_limits<std::size_t>::max();  ///< 1: anti-affinity
  double crowding_price = 0;  ///< for each one beyond the first on a node: spread
};

/// The predicted cost of a placement is the sum of
/// - tardiness: queue and latency against the task's SLA. It is predicted with the queues as they stand: what is placed
///   in the same decision is not in anyone's queue, which is what load prices are for;
/// - prices: `price_on`, `elsewhere_price`, `move_price`, `reject_price`;
/// - load prices and crowding.
/// It must keep within every capacity, allow-list, pin and `per_node_max`. A bound that a solver proves is one on this
/// cost, not on what then happens.
struct PlacementProblem {
  std::vector<std::string> resources{};
  std::vector<PlacementNode> nodes{};
  std::vector<PlacementTask> tasks{};
  std::vector<PlacementGroup> groups{};
};

}  // namespace aura
