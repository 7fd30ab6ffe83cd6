// Chooses a node for one task now: the one predicted to complete it first, less those whose queues stand out.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/detail/dispatch_table.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace aura {

/// Codes of the domain "dispatch".
enum class dispatch_errc : std::int32_t {
  no_node = 1,         ///< no node is up that the task allows
  no_room = 2,         ///< those that are up are at their outstanding_max, or the task does not fit
  too_many_nodes = 3,  ///< nodes_max
  bad_node = 4,        ///< a node without slots, or with a service that is negative
};
constexpr std::string_view error_domain(dispatch_errc) noexcept { return "dispatch"; }

struct DispatcherOptions {
  std::size_t nodes_max = 1024;
  std::size_t scan_max = 64;  ///< candidates up to which all are compared; at most 64
  std::size_t choices = 4;    ///< that are drawn at random and compared where there are more; at most scan_max
  /// How many dispatchers send to the same nodes without knowing of each other, this one included: each task of ours
  /// stands for one of each of them (the concurrency compensation of C3). One dispatcher knows its queues exactly.
  double dispatchers = 1;
  Duration service{std::chrono::milliseconds(1)};  ///< for a unit of work, of a node that nothing is known of
  double memory = 8;  ///< completions over which a node's service is averaged; more than 1
  double prior = 1;  ///< units of work for which the long-run service of the node counts beside them
  double forget_after = 20;  ///< services without work of ours that make the long-run service count for one unit more
  double knee = 2;  ///< times the mean queue, plus 1: the queue at which the penalty doubles the prediction
};

struct DispatchNode {
  std::uint32_t slots = 1;  ///< tasks that the node works on at a time
  std::uint32_t outstanding_max = 0;  ///< tasks of ours at the node, queued or running; 0: no limit
  Duration service{};  ///< for a unit of work, as first guess; zero: the mean of the nodes that are up
};

enum class NodeState : std::uint8_t { absent, up, draining, failed };

/// What is to be placed. The spans need to live for the call only.
struct DispatchTask {
  double work = 1;  ///< in units of an average task; anything but a positive, finite number counts as 1
  /// Bit i % 64 of word i / 64 allows node i, and nodes beyond the last word are not allowed. Empty: all are.
  std::span<const std::uint64_t> allowed{};
  /// How long the task itself takes at node i, as a mean or as a bound: what an estimator of latencies hands in. Empty, or
  /// not positive for a node: `work` times the service that was observed there.
  std::span<const Duration> predicted{};
};

/// A task that a node was given. Hand it back once, to `ended` or to `dropped`.
struct DispatchTicket {
  std::uint32_t node = 0;
  std::uint32_t epoch = 0;  ///< of the node: what was begun before it failed or left is told apart
  double work = 1;
};

/// Placement of one task at a time, after C3 (Suresh, Canini, Schmid, Feldmann, NSDI 2015).
///
/// The score of a node is completion x (1 + (q/k)^2): the completion that is predicted there, and a penalty that grows
/// with the cube of the outstanding work q for a slot, this task included. k is 1 + `knee` times the mean of q over the
/// nodes, so queues are in proportion to speeds while they are near the mean and level when they stand out, where
/// what is known of a node's speed is not to be relied on. The least score wins, ties are broken evenly at random.
///
/// C3's score is R - 1/mu + q^3/mu with q = 1 + outstanding x n + queue, from what servers report. We differ: its cube bites
/// from the first task on, ours from k on; the queue is our own count, which is exact for one dispatcher, so no server
/// need report any; the service is not an average of reported ones but the slot-time that passed over the work that was done
/// in it, with what runs counted in: a node that has gone slow is noticed before it answers, and one that is silent more
/// and more avoided. A node that idles is forgiven slowly. No rate is limited: that is admission's.
///
/// Plain: calls are serialised by the host (its strand). Nothing allocates after the constructor. `choose` is linear in the
/// candidates up to scan_max, above that in `choices` and nodes_max / 64; the others are constant.
class Dispatcher {
 public:
  using Options = DispatcherOptions;
  static constexpr std::size_t scan_limit = 64;

  Dispatcher() : Dispatcher(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit Dispatcher(const Options& options)
      : options_(checked(options)),
        table_(options.nodes_max,
               {options.dispatchers, options.memory, options.prior, options.forget_after, options.knee}),
        nodes_(options.nodes_max),
        placeable_((options.nodes_max + 63) / 64),
        open_((options.nodes_max + 63) / 64) {
    up_.reserve(options.nodes_max);
  }

  /// A node that takes work from now on. Returns its index, the lowest that is free.
  Result<std::uint32_t> join(const DispatchNode& node, SteadyTime now) {
    if (node.slots == 0 || node.service < Duration::zero()) {
      return Error::fixed(dispatch_errc::bad_node, ErrorClass::permanent,
                          "a node needs slots and no negative service");
    }
    std::uint32_t index = 0;
    while (index < end_ && nodes_[index].state != NodeState::absent) ++index;
    if (index == nodes_.size()) {
      return Error::fixed(dispatch_errc::too_many_nodes, ErrorClass::rejected, "as many nodes as nodes_max");
    }
    end_ = std::max(end_, index + 1);
    const double usual = node.service > Duration::zero() ? static_cast<double>(node.service.count()) : usual_of_all();
    nodes_[index].options = node;
    table_.open(index, now, node.slots, usual);
    set_state(index, NodeState::up);
    return index;
  }
  /// It gets nothing new; what it has goes on. False where it is not up.
  bool drain(std::uint32_t node) noexcept { return move(node, NodeState::up, NodeState::draining); }
  /// A draining node takes work again. False where it is not draining.
  bool resume(std::uint32_t node) noexcept { return move(node, NodeState::draining, NodeState::up); }
  /// It gets nothing, and what it has is given up: those tickets are void, and the host places the tasks again. Returns how
  /// many there were.
  std::size_t fail(std::uint32_t node) noexcept { return give_up(node, NodeState::failed); }
  /// A failed node is back, and known as it was. False where it has not failed.
  bool recover(std::uint32_t node) noexcept { return move(node, NodeState::failed, NodeState::up); }
  /// It is gone and its index free. Returns how many tickets that made void; to wait for them, drain first.
  std::size_t leave(std::uint32_t node) noexcept { return give_up(node, NodeState::absent); }

  /// The node for a task. Changes nothing: `began` says that it was sent. `fits(node)`, if given, is asked once for each
  /// candidate whether the resources left there suffice. Rejected: no_node, no_room. About 0.2 us at 64 nodes.
  template <class Fits>
  Result<std::uint32_t> choose(SteadyTime now, Random& random, const DispatchTask& task, const Fits& fits) const {
    Candidates candidates;
    if (std::is_same_v<Fits, Anywhere> && task.allowed.empty() && full_ == 0 && up_.size() <= options_.scan_max) {
      candidates.count = up_.size();
      std::copy(up_.begin(), up_.end(), candidates.nodes.begin());
    } else if (up_.size() <= options_.scan_max || counted(task) <= options_.scan_max) {
      gather(candidates, 0, task, fits);
    } else {
      draw(candidates, random, task, fits);
    }
    if (candidates.count == 0) return none(task);
    return best(candidates, random, task, table_.moment(now, sound(task.work)));
  }
  Result<std::uint32_t> choose(SteadyTime now, Random& random, const DispatchTask& task = {}) const {
    return choose(now, random, task, Anywhere{});
  }

  /// The task is on its way to `node`, which has joined. Also right for a node that the host chose by itself.
  DispatchTicket began(std::uint32_t node, SteadyTime now, double work = 1) noexcept {
    work = sound(work);
    table_.began(node, now, work);
    reopen(node);
    return {node, nodes_[node].epoch, work};
  }
  /// The task is done. False where the ticket is void: the node has failed or left since.
  bool ended(const DispatchTicket& ticket, SteadyTime now) noexcept { return finish(ticket, now, true); }
  /// It is not waited for any more (timed out, cancelled, moved), so nothing is learnt of the node's speed but that time has
  /// passed. False as above.
  bool dropped(const DispatchTicket& ticket, SteadyTime now) noexcept { return finish(ticket, now, false); }

  /// Nanoseconds until a task would be complete at a node that has joined, without the penalty.
  Duration predicted(std::uint32_t node, SteadyTime now, double work = 1) const noexcept {
    const double span = table_.predict(node, table_.moment(now, sound(work)), 0).completion;
    return span < 0x1p62 ? Duration(static_cast<Duration::rep>(span)) : Duration::max();
  }
  std::size_t outstanding(std::uint32_t node) const noexcept {
    return node < nodes_.size() ? static_cast<std::size_t>(table_.tasks(node)) : 0;
  }
  NodeState state(std::uint32_t node) const noexcept {
    return node < nodes_.size() ? nodes_[node].state : NodeState::absent;
  }
  std::size_t nodes_up() const noexcept { return up_.size(); }
  const Options& options() const noexcept { return options_; }

 private:
  struct Node {
    DispatchNode options{};
    NodeState state = NodeState::absent;
    std::uint32_t epoch = 0;
    std::uint32_t place = 0;  // in up_
    bool full = false;  // up, and at its outstanding_max
  };
  struct Anywhere {
    bool operator()(std::uint32_t) const noexcept { return true; }
  };
  struct Candidates {
    std::array<std::uint32_t, scan_limit> nodes;  // the first `count`
    std::size_t count = 0;
  };

  static const Options& checked(const Options& options) {
    const auto demand = [](bool holds, const char* culprit) {
      if (!holds) throw std::invalid_argument(std::string("Dispatcher: ") + culprit);
    };
    demand(options.nodes_max > 0 && options.nodes_max <= 1u << 20, "nodes_max must lie in [1, 2^20]");
    demand(options.scan_max > 0 && options.scan_max <= scan_limit, "scan_max must lie in [1, 64]");
    demand(options.choices > 0 && options.choices <= options.scan_max, "choices must lie in [1, scan_max]");
    demand(options.dispatchers >= 1 && options.dispatchers <= 1e6, "dispatchers must lie in [1, 1e6]");
    demand(options.service > Duration::zero(), "service must be positive");
    demand(options.memory > 1 && options.memory <= 1e6, "memory must lie in (1, 1e6]");
    demand(options.prior > 0 && options.prior <= 1e6, "prior must lie in (0, 1e6]");
    demand(options.forget_after > 0 && options.forget_after <= 1e9, "forget_after must lie in (0, 1e9]");
    demand(options.knee >= 0 && options.knee <= 1e9, "knee must lie in [0, 1e9]");
    return options;
  }
  static double sound(double work) noexcept { return work > 0 && std::isfinite(work) ? work : 1; }

  // Who takes work.

  double usual_of_all() const noexcept {
    double sum = 0;
    for (const std::uint32_t node : up_) sum += table_.usual(node);
    return up_.empty() ? static_cast<double>(options_.service.count()) : sum / static_cast<double>(up_.size());
  }
  bool move(std::uint32_t node, NodeState from, NodeState to) noexcept {
    if (state(node) != from) return false;
    set_state(node, to);
    return true;
  }
  std::size_t give_up(std::uint32_t node, NodeState to) noexcept {
    if (state(node) == NodeState::absent) return 0;
    const std::size_t lost = outstanding(node);
    table_.abandon(node);
    ++nodes_[node].epoch;
    set_state(node, to);
    return lost;
  }
  void set_state(std::uint32_t node, NodeState to) noexcept {
    Node& one = nodes_[node];
    const bool was = one.state == NodeState::up, is = to == NodeState::up;
    one.state = to;
    if (is && !was) {
      one.place = static_cast<std::uint32_t>(up_.size());
      up_.push_back(node);
      table_.offer(one.options.slots);
    } else if (was && !is) {
      nodes_[up_.back()].place = one.place;
      up_[one.place] = up_.back();
      up_.pop_back();
      table_.offer(-static_cast<double>(one.options.slots));
    }
    put(placeable_, node, is);
    reopen(node);
  }
  void reopen(std::uint32_t node) noexcept {
    Node& one = nodes_[node];
    const std::uint32_t most = one.options.outstanding_max;
    const bool up = one.state == NodeState::up, full = up && most != 0 && outstanding(node) >= most;
    if (full != one.full) full_ = full ? full_ + 1 : full_ - 1;
    one.full = full;
    put(open_, node, up && !full);
  }
  bool finish(const DispatchTicket& ticket, SteadyTime now, bool completed) noexcept {
    if (ticket.node >= nodes_.size() || nodes_[ticket.node].epoch != ticket.epoch) return false;
    if (outstanding(ticket.node) == 0) return false;
    table_.ended(ticket.node, now, ticket.work, completed);
    reopen(ticket.node);
    return true;
  }
  static void put(std::vector<std::uint64_t>& bits, std::uint32_t node, bool value) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (node % 64);
    bits[node / 64] = value ? bits[node / 64] | bit : bits[node / 64] & ~bit;
  }

  // Who comes into question.

  static std::uint64_t allowed(const DispatchTask& task, std::size_t word) noexcept {
    if (task.allowed.empty()) return ~std::uint64_t{0};
    return word < task.allowed.size() ? task.allowed[word] : 0;
  }
  std::size_t words() const noexcept { return (end_ + 63) / 64; }
  std::size_t counted(const DispatchTask& task) const noexcept {
    std::size_t count = 0;
    for (std::size_t word = 0; word < words(); ++word) {
      count += static_cast<std::size_t>(std::popcount(open_[word] & allowed(task, word)));
    }
    return count;
  }
  // From the word `first` on, and round; the first scan_max that it finds.
  template <class Fits>
  void gather(Candidates& into, std::size_t first, const DispatchTask& task, const Fits& fits) const {
    for (std::size_t step = 0; step < words(); ++step) {
      const std::size_t word = first + step < words() ? first + step : first + step - words();
      for (std::uint64_t bits = open_[word] & allowed(task, word); bits != 0; bits &= bits - 1) {
        const auto node = static_cast<std::uint32_t>(word * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
        if (!fits(node)) continue;
        into.nodes[into.count++] = node;
        if (into.count == options_.scan_max) return;
      }
    }
  }
  // A draw may miss, where few are allowed: then it is repeated, and at last all are looked through.
  template <class Fits>
  void draw(Candidates& into, Random& random, const DispatchTask& task, const Fits& fits) const {
    for (std::size_t draws = 4 * options_.choices; draws > 0 && into.count < options_.choices; --draws) {
      const std::uint32_t node = up_[random.below(up_.size())];
      const std::uint64_t word = open_[node / 64] & allowed(task, node / 64);
      if ((word >> (node % 64) & 1) == 0 || !fits(node)) continue;
      into.nodes[into.count++] = node;
    }
    if (into.count == 0) gather(into, random.below(words()), task, fits);
  }

  std::uint32_t best(const Candidates& among, Random& random, const DispatchTask& task,
                     const detail::DispatchTable::Moment& at) const noexcept {
    // First the scores, so that nothing waits between the divisions; then the least of them.
    std::array<double, scan_limit> scores;
    if (task.predicted.empty()) {
      for (std::size_t i = 0; i < among.count; ++i) scores[i] = table_.predict(among.nodes[i], at, 0).score;
    } else {
      for (std::size_t i = 0; i < among.count; ++i) {
        const std::uint32_t node = among.nodes[i];
        const double own = node < task.predicted.size() ? static_cast<double>(task.predicted[node].count()) : 0;
        scores[i] = table_.predict(node, at, own).score;
      }
    }
    std::uint32_t chosen = among.nodes[0];
    double lowest = scores[0];
    std::uint64_t ties = 1;
    for (std::size_t i = 1; i < among.count; ++i) {
      if (scores[i] > lowest) continue;
      ties = scores[i] < lowest ? 1 : ties + 1;
      lowest = scores[i];
      if (ties == 1 || random.below(ties) == 0) chosen = among.nodes[i];
    }
    return chosen;
  }

  Error none(const DispatchTask& task) const noexcept {
    for (std::size_t word = 0; word < words(); ++word) {
      if ((placeable_[word] & allowed(task, word)) == 0) continue;
      return Error::fixed(dispatch_errc::no_room, ErrorClass::rejected, "no node that is up and allowed has room");
    }
    return Error::fixed(dispatch_errc::no_node, ErrorClass::rejected, "no node is up that the task allows");
  }

  Options options_;
  detail::DispatchTable table_;
  std::vector<Node> nodes_;
  std::vector<std::uint32_t> up_;  // dense, in no order
  std::vector<std::uint64_t> placeable_;  // bits: is up
  std::vector<std::uint64_t> open_;  // bits: and below outstanding_max
  std::size_t full_ = 0;  // nodes that are
  std::uint32_t end_ = 0;  // past the highest index ever used
};

}  // namespace aura
