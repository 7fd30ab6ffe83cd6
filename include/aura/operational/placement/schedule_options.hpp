// What is scheduled, and where: classes of tasks, tasks, nodes, and the limits of a schedule.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/dispatcher.hpp>
#include <aura/operational/latency_estimator.hpp>
#include <aura/operational/placement/problem.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace aura {

/// What becomes of a task that is taken off its node while it runs.
enum class Preemption : std::uint8_t {
  never,    ///< it is not: a task that runs stays
  resume,   ///< it goes on where it was, as far as its node has told (`progressed`)
  restart,  ///< it begins anew, so what it did is lost
};

/// The worst that a class may send: `burst` tasks at once and one more each `period`, each of at most `work` on a node of
/// speed 1. What comes faster is refused; what keeps to it is done within the class's `sla.maximum`, as far as
/// `demand_bound` promises.
struct ArrivalModel {
  Duration period{};
  std::uint32_t burst = 1;
  Duration work{};
  std::uint32_t ways = 1;  ///< nodes that its tasks are dealt to in turn: for a class that is too much for one
};

struct ScheduleClass {
  std::string name{};
  Sla sla{};
  std::vector<double> demand{};  ///< one for each resource; held from placement to end
  Duration work = std::chrono::milliseconds(100);  ///< at the percentile, speed 1 and size 1: until it is learned
  std::optional<ArrivalModel> arrivals{};
  bool movable = true;  ///< while it waits at a node for its turn
  Preemption preemption = Preemption::never;  ///< while it runs
  double move_price = 0;  ///< for moving one that waits at a node
  double preempt_price = 0;  ///< for moving one that runs, beside `move_price`
  /// For giving up a task that was accepted and has not begun. None: it never is.
  std::optional<double> reject_price{};
  std::uint64_t needs = 0;  ///< labels that a node must have, as bits
  std::uint64_t likes = 0;  ///< labels that it should have
  double elsewhere_price = 0;  ///< for a node without them
  std::size_t per_node_max = std::numeric_limits<std::size_t>::max();  ///< of tasks of one group; 1: anti-affinity
  double crowding_price = 0;  ///< for each task of a group beyond the first on a node: spread
};

struct ScheduleTask {
  std::uint32_t class_index = 0;
  std::uint64_t key = 0;  ///< the host's own; comes back in every action
  double size = 1;  ///< of its work, in units of its class's usual; more than 0
  std::uint64_t group = 0;  ///< tasks of one class and group should or must not stand together; 0: none
  std::span<const double> demand{};  ///< empty: its class's. Needs to live for the call only
};

struct ScheduleNode {
  std::string name{};  ///< one that was here before under this name is known still
  std::vector<double> capacity{};  ///< one for each resource
  double speed = 1;  ///< first guess: work of one second takes 1 / speed seconds
  std::uint32_t slots = 1;  ///< tasks that it works on at once; more wait there, within its capacity
  std::uint64_t labels = 0;
};

struct ScheduleOptions {
  std::vector<std::string> resources{};  ///< at most 8
  std::vector<ScheduleClass> classes{};  ///< at most 64, of three percentiles at most
  std::size_t nodes_max = 64;  ///< at once; one more is refused. Names ever seen: four times that
  std::size_t tasks_max = 4096;  ///< accepted and not ended; one more is refused
  std::size_t waiting_max = 1024;  ///< of these, without a node; one more is refused
  std::size_t waiting_scan_max = 16;  ///< that are tried when room comes free
  std::uint32_t overtakes_max = 64;  ///< times that one is passed over before nobody passes it any more
  std::size_t optimise_tasks_max = 512;  ///< in one problem; others stay as they are
  Duration horizon = std::chrono::seconds(1);  ///< how long one that is not placed now is taken to go on waiting
  double waiting_price = 1;  ///< for not placing one now, beside the lateness that a horizon adds
  double margin = 0;  ///< what a move has to save beyond its price; negative counts as 0
  DispatcherOptions dispatcher{};  ///< its nodes_max and service follow from the above
  LatencyEstimatorOptions estimator{};  ///< its coverages, classes_max and nodes_max do likewise
};

}  // namespace aura
