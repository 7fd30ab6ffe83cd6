// The signals that wait for a scheduler: accepted, ordered, handed out or dropped. It decides nothing about whose turn it is.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/dedup_window.hpp>
#include <aura/operational/detail/signal_class_state.hpp>
#include <aura/operational/detail/signal_lanes.hpp>
#include <aura/operational/detail/signal_tickets.hpp>
#include <aura/operational/signal_class.hpp>
#include <aura/operational/signal_event.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace aura::detail {

/// Classes and their queues of lanes. Each lane with work stands in its class's queue once, unless its key is busy.
template <class S, class E>
class SignalBacklog {
 public:
  using Ticket = typename SignalTickets<S, E>::Ticket;
  using Slot = typename SignalLanes<S, E>::Slot;
  struct Limits {
    std::size_t in_flight_max = 1;  ///< signals that may be under way
    std::size_t dedup_ids_max = 0;
    Duration dedup_span{};
    std::uint64_t hash_seed = 0;
  };

  SignalBacklog(std::span<const SignalClass> classes, const Limits& limits)
      : classes_(make_classes(classes)),
        lanes_(capacity_of(classes), capacity_of(classes) + limits.in_flight_max, limits.hash_seed),
        dedup_(limits.dedup_ids_max, limits.dedup_span, limits.hash_seed) {}

  std::size_t class_count() const noexcept { return classes_.size(); }
  SignalClassState& of_class(std::size_t index) noexcept { return *classes_[index]; }
  const SignalClassState& of_class(std::size_t index) const noexcept { return *classes_[index]; }
  std::span<const std::unique_ptr<SignalClassState>> classes() const noexcept { return classes_; }
  std::size_t waiting() const noexcept { return waiting_; }

  bool seen(std::uint64_t id, SteadyTime now) noexcept { return dedup_.contains(id, now); }
  /// How many signals of this key wait that are all to be handled by `deadline`; none where one has longer.
  std::uint32_t key_backlog(const typename S::key_type& key, SteadyTime deadline) noexcept {
    const std::uint32_t at = lanes_.find_key(key);
    return at != no_index && lanes_.key(at).latest <= deadline ? lanes_.key(at).waiting : 0;
  }

  /// The class has room.
  void accept(S&& signal, E&& extra, SteadyTime now);
  /// Puts a slot into the lane of its batch key, or of its key.
  void join(std::uint32_t slot, bool grouped, SteadyTime now);

  /// The lane at the head of a class; no_index where none can go. Sweeps what is stale and what waits for its key.
  std::uint32_t head_of(std::size_t class_index);
  /// Takes the head that `head_of` found out of the queue.
  std::uint32_t take_head(std::size_t class_index) {
    const std::uint32_t at = classes_[class_index]->pop_head().lane;
    lanes_.lane(at).has_token = false;
    return at;
  }
  /// Shows the first signals of the first `count` lanes, or of a few less.
  template <class Visit>
  void look_ahead(std::size_t class_index, std::size_t count, Visit&& visit);
  SignalLane& lane(std::uint32_t at) noexcept { return lanes_.lane(at); }
  const SignalLane& lane(std::uint32_t at) const noexcept { return lanes_.lane(at); }
  Slot& slot(std::uint32_t at) noexcept { return lanes_.slot(at); }
  const S& first_of(std::uint32_t lane) noexcept { return lanes_.slot(lanes_.lane(lane).heap.top()).signal; }
  std::uint32_t pop(std::uint32_t lane) { return lanes_.pop(lane); }
  /// After something was popped from a lane: the next one takes its place in the queue, unless its key is busy.
  void settle(std::uint32_t lane);

  /// True where a signal's key is busy, or has one waiting that comes before it in the order of their class.
  bool blocked(std::uint32_t slot) noexcept {
    return lanes_.key(lanes_.slot(slot).key).busy || lanes_.preceded(slot);
  }
  void make_busy(std::uint32_t slot) noexcept { lanes_.key(lanes_.slot(slot).key).busy = true; }
  void free_key(std::uint32_t key);

  /// Why a signal at the head shall not be handled.
  std::optional<SignalDrop> fault_of(std::uint32_t slot, SteadyTime now);
  void hand_out(std::uint32_t slot, Ticket& ticket, SteadyTime now);
  template <class Sink>
  void drop(std::uint32_t slot, SignalDrop reason, SteadyTime now, Sink& sink);
  template <class Sink>
  void abandon(SteadyTime now, Sink& sink) {
    for (std::uint32_t at = 0; at < lanes_.lane_count(); ++at) {
      if (lanes_.lane(at).owner == no_index) continue;
      while (lanes_.lane(at).waiting > 0) drop(lanes_.pop(at), SignalDrop::drained, now, sink);
      lanes_.free_lane(at);
    }
    for (auto& each : classes_) {
      each->queue.clear();
      each->staged.clear();
    }
  }

 private:
  static std::vector<std::unique_ptr<SignalClassState>> make_classes(std::span<const SignalClass> classes) {
    std::vector<std::unique_ptr<SignalClassState>> made;
    for (const SignalClass& each : classes) made.push_back(std::make_unique<SignalClassState>(each));
    return made;
  }
  static std::size_t capacity_of(std::span<const SignalClass> classes) {
    std::size_t all = 0;
    for (const SignalClass& each : classes) all += each.capacity_max;
    return all;
  }
  bool live(const LaneToken& token) const noexcept {
    const SignalLane& lane = lanes_.lane(token.lane);
    return lane.has_token && lane.generation == token.generation;
  }
  void issue_token(std::uint32_t lane);
  void compact(SignalClassState& of);
  void leave(std::uint32_t slot, std::uint8_t class_index);

  std::vector<std::unique_ptr<SignalClassState>> classes_;
  SignalLanes<S, E> lanes_;
  DedupWindow dedup_;
  std::uint64_t sequence_ = 0;
  std::size_t waiting_ = 0;
};

template <class S, class E>
void SignalBacklog<S, E>::accept(S&& signal, E&& extra, SteadyTime now) {
  SignalClassState& to = *classes_[signal.class_index];
  const std::uint32_t at = lanes_.take_slot(signal.key);
  auto& slot = lanes_.slot(at);
  slot.order_by = signal.deadline ? *signal.deadline : saturating_add(now, to.options.patience);
  slot.offered = now;
  slot.sequence = sequence_++;
  slot.bucket = to.counts.add(slot.order_by, now);
  if (signal.id) dedup_.add(*signal.id, now);
  slot.signal = std::move(signal);
  slot.extra = std::move(extra);
  auto& key = lanes_.key(slot.key);
  key.latest = std::max(key.latest, slot.order_by);
  to.metrics.waiting.add();
  ++waiting_;
  const bool grouped = to.batches() && slot.signal.batch_key && !blocked(at);
  join(at, grouped, now);
}

template <class S, class E>
void SignalBacklog<S, E>::join(std::uint32_t at, bool grouped, SteadyTime now) {
  const auto& slot = lanes_.slot(at);
  const std::uint8_t index = slot.signal.class_index;
  const bool by_arrival = classes_[index]->options.fifo_per_key;
  const std::uint32_t to = grouped ? lanes_.group_lane(*slot.signal.batch_key, index, by_arrival)
                                   : lanes_.key_lane(slot.key, index, by_arrival);
  lanes_.push(to, at);
  SignalLane& lane = lanes_.lane(to);
  if (lane.gathering)
    lane.joined_ns += static_cast<double>((now - lane.opened).count());
  else if ((grouped || !lanes_.key(slot.key).busy) && (!lane.has_token || slot.order_by < lane.token_order))
    issue_token(to);
}

template <class S, class E>
void SignalBacklog<S, E>::issue_token(std::uint32_t at) {
  SignalLane& lane = lanes_.lane(at);
  SignalClassState& of = *classes_[lane.class_index];
  lane.has_token = true;
  lane.token_order = lane.earliest;
  ++lane.generation;
  if (of.queue.size() == of.queue.capacity()) compact(of);
  of.queue.push(lane.token_order, LaneToken{at, lane.generation});
}

template <class S, class E>
void SignalBacklog<S, E>::compact(SignalClassState& of) {
  std::vector<std::pair<SteadyTime, LaneToken>> kept;
  of.queue.drain([&](SteadyTime order, LaneToken token) {
    if (live(token)) kept.emplace_back(order, token);
  });
  for (const auto& [order, token] : kept) of.queue.push(order, token);
}

template <class S, class E>
std::uint32_t SignalBacklog<S, E>::head_of(std::size_t index) {
  SignalClassState& of = *classes_[index];
  while (!of.nothing_queued()) {
    const LaneToken token = of.head_is_staged() ? of.staged.front().token : of.queue.front();
    SignalLane& lane = lanes_.lane(token.lane);
    if (live(token)) {
      if (lane.group || !lanes_.key(lane.owner).busy) return token.lane;
      lane.has_token = false;  // until its key is free
    }
    of.pop_head();
  }
  return no_index;
}

template <class S, class E>
template <class Visit>
void SignalBacklog<S, E>::look_ahead(std::size_t index, std::size_t count, Visit&& visit) {
  SignalClassState& of = *classes_[index];
  // What came since and is due sooner joins, up to twice as many: none goes back, since it would lose its place.
  const auto wanted = [&] {
    return of.staged.size() < count ||
           (of.staged.size() < 2 * count && of.queue.next_deadline() < of.staged[count - 1].order);
  };
  while (!of.queue.empty() && wanted()) {
    const SteadyTime order = of.queue.next_deadline();
    const LaneToken token = of.queue.pop();
    if (!live(token)) continue;
    const auto later = [](SteadyTime at, const StagedLane& each) { return at < each.order; };
    of.staged.insert(std::upper_bound(of.staged.begin(), of.staged.end(), order, later), {order, token});
  }
  for (std::size_t i = 0; i < std::min(count, of.staged.size()); ++i)
    if (live(of.staged[i].token)) visit(slot(lanes_.lane(of.staged[i].token.lane).heap.top()));
}

template <class S, class E>
void SignalBacklog<S, E>::settle(std::uint32_t at) {
  const SignalLane& lane = lanes_.lane(at);
  if (lane.waiting == 0)
    lanes_.free_lane(at);
  else if (lane.group || !lanes_.key(lane.owner).busy)
    issue_token(at);
}

template <class S, class E>
void SignalBacklog<S, E>::free_key(std::uint32_t key) {
  lanes_.key(key).busy = false;
  for (std::uint32_t at = lanes_.key(key).lanes; at != no_index; at = lanes_.lane(at).next)
    if (!lanes_.lane(at).has_token) issue_token(at);
  lanes_.release_key(key);
}

template <class S, class E>
std::optional<SignalDrop> SignalBacklog<S, E>::fault_of(std::uint32_t at, SteadyTime now) {
  const auto& slot = lanes_.slot(at);
  SignalClassState& of = *classes_[slot.signal.class_index];
  if (slot.signal.deadline && of.options.late == LatePolicy::drop && *slot.signal.deadline <= now)
    return SignalDrop::late;
  if (of.options.codel.on && !(slot.signal.deadline && of.options.codel.spare_deadlines) &&
      of.codel.drop(now, now - slot.offered, of.waiting() == 1))
    return SignalDrop::codel;
  return std::nullopt;
}

template <class S, class E>
void SignalBacklog<S, E>::hand_out(std::uint32_t at, Ticket& ticket, SteadyTime now) {
  auto& slot = lanes_.slot(at);
  SignalClassMetrics& metrics = classes_[slot.signal.class_index]->metrics;
  metrics.waits.observe(now - slot.offered);
  metrics.running.add();
  ticket.waits.push_back(now - slot.offered);
  ticket.keys.push_back(slot.key);
  ticket.signals.push_back(std::move(slot.signal));
  ticket.extras.push_back(std::move(slot.extra));
  leave(at, ticket.class_index);
}

template <class S, class E>
template <class Sink>
void SignalBacklog<S, E>::drop(std::uint32_t at, SignalDrop reason, SteadyTime now, Sink& sink) {
  auto& slot = lanes_.slot(at);
  const std::uint8_t index = slot.signal.class_index;
  classes_[index]->metrics.dropped[index_of(reason)].add();
  if (slot.signal.id) dedup_.forget(*slot.signal.id);
  S signal = std::move(slot.signal);
  E extra = std::move(slot.extra);
  const Duration waited = now - slot.offered;
  leave(at, index);
  sink.dropped(std::move(signal), std::move(extra), reason, waited);
}

template <class S, class E>
void SignalBacklog<S, E>::leave(std::uint32_t at, std::uint8_t class_index) {
  SignalClassState& of = *classes_[class_index];
  of.counts.remove(lanes_.slot(at).bucket);
  of.metrics.waiting.sub();
  if (of.waiting() == 0) of.codel.emptied();
  --waiting_;
  lanes_.free_slot(at);
}

}  // namespace aura::detail
