// Which signals are accepted, which goes next, and with whom: the pure core of the signal router.
#pragma once

#include <aura/core/observer.hpp>
#include <aura/operational/class_queue.hpp>
#include <aura/operational/detail/signal_admission.hpp>
#include <aura/operational/detail/signal_backlog.hpp>
#include <aura/operational/detail/signal_class_state.hpp>
#include <aura/operational/detail/signal_gathering.hpp>
#include <aura/operational/detail/signal_tickets.hpp>
#include <aura/operational/signal.hpp>
#include <aura/operational/signal_class.hpp>
#include <aura/operational/signal_event.hpp>
#include <aura/operational/signal_metrics.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace aura {

struct SignalSchedulerOptions {
  std::vector<SignalClass> classes = default_signal_classes();  ///< the most urgent first; at most eight
  std::size_t parallel_max = 1;  ///< calls of the handler at once, for different keys
  /// Handling time that a weight of one gets in a round. Below what a bulk signal takes, so that a class that comes to
  /// life waits for one of those at most.
  Duration quantum = std::chrono::microseconds(100);
  Duration borrow_max = std::chrono::milliseconds(5);  ///< that promotions may take ahead, times the class's weight
  /// How sure admission is that what it accepts ends in time, in standard deviations of the work ahead.
  double caution = 3;
  std::size_t gathering_max = 64;  ///< batches that wait for company at once; beyond, they do not wait
  std::size_t dedup_ids_max = 65'536;  ///< ids remembered; beyond, the oldest is forgotten
  Duration dedup_span = std::chrono::minutes(10);
  std::uint64_t hash_seed = 0;  ///< draw one where keys come from outside
};

/// A call of the handler that is under way.
struct SignalTicket {
  std::uint32_t index = detail::no_index;
  std::uint32_t generation = 0;
  friend bool operator==(const SignalTicket&, const SignalTicket&) = default;
};

/// What there is to do now.
struct SignalNext {
  enum class Kind : std::uint8_t {
    run,  ///< hand `ticket` to the handler
    busy,  ///< as many calls as may run do: ask again after `done`
    wait,  ///< ask again at `wake`, or after the next `offer` or `done`
  };
  Kind kind = Kind::wait;
  SignalTicket ticket{};
  SteadyTime wake = SteadyTime::max();
};

struct NoSignalExtra {};

/// Takes signals, says which to handle. Classes share handling time by weight (deficit round robin); within a class the
/// earliest deadline is first, the first to arrive among equals (to the resolution of `DeadlineQueue`, 250 us); a signal
/// whose slack runs out goes before other classes' turns. A key has one signal under way at a time.
///
/// `Extra` travels with a signal, for its sender's needs. `Sink` is whoever is told of drops:
/// `sink.dropped(Signal&&, Extra&&, SignalDrop, Duration waited)`. Nothing vanishes: a signal that was offered is
/// refused, or it waits, is handed out, is handled, or is given to a sink; `stats(c).conserved()` says so.
///
/// Memory is taken at construction: about 300 bytes and a `Signal` for each that may wait. An offer and a hand-out are
/// constant but for a few logarithmic steps; each looks at every class once. Not shared between threads, but for `stats`.
template <class Payload, class Key = std::string, class Extra = NoSignalExtra>
class SignalScheduler {
 public:
  using signal_type = Signal<Payload, Key>;
  using Options = SignalSchedulerOptions;

  SignalScheduler() : SignalScheduler(Options{}) {}
  /// \throws std::invalid_argument where there is no class, or more than eight, or nothing may run.
  explicit SignalScheduler(const Options& options)
      : options_(checked(options)),
        backlog_(options.classes, {.in_flight_max = options.parallel_max * batch_max_of(options),
                                   .dedup_ids_max = options.dedup_ids_max,
                                   .dedup_span = options.dedup_span,
                                   .hash_seed = options.hash_seed}),
        shares_(weights_of(options), options.quantum.count()),
        tickets_(options.parallel_max, batch_max_of(options)),
        gathering_(options.gathering_max) {}

  /// Accepts the signal, or leaves it with the caller and says why.
  SignalVerdict offer(signal_type&& signal, SteadyTime now) { return offer(std::move(signal), Extra{}, now); }
  SignalVerdict offer(signal_type&& signal, Extra&& extra, SteadyTime now) {
    if (signal.class_index >= backlog_.class_count()) {
      unknown_class_.add();
      return {SignalRefusal::unknown_class, {}};
    }
    ClassState& to = backlog_.of_class(signal.class_index);
    to.metrics.offered.add();
    const SignalVerdict verdict = judge(signal, now);
    if (verdict)
      backlog_.accept(std::move(signal), std::move(extra), now);
    else
      to.metrics.refused[static_cast<std::size_t>(*verdict.refused)].add();
    return verdict;
  }

  /// What to do now. On `run`, `signals(ticket)` are the handler's until `done(ticket)`.
  template <class Sink>
  SignalNext next(SteadyTime now, Sink& sink) {
    for (;;) {
      if (!tickets_.available()) return {.kind = SignalNext::Kind::busy};
      std::uint32_t lane = gathering_.take_due(backlog_, now);
      if (lane == detail::no_index) {
        const std::optional<std::size_t> turn = choose(now);
        if (!turn) return {.kind = SignalNext::Kind::wait, .wake = gathering_.next_close(backlog_)};
        lane = backlog_.take_head(*turn);
        if (backlog_.lane(lane).group && !gathering_.closes(lane, backlog_, now)) continue;
      }
      const bool group = backlog_.lane(lane).group;
      const std::uint32_t ticket = group ? take_batch(lane, now, sink) : take_one(lane, now, sink);
      if (ticket != detail::no_index)
        return {.kind = SignalNext::Kind::run, .ticket = {ticket, tickets_[ticket].generation}};
    }
  }

  /// The handler has ended; `failure` is what it ended with. False where the ticket is not under way.
  template <class Observer>
  bool done(SignalTicket which, SteadyTime now, std::optional<ErrorClass> failure, Observer& observer) {
    if (!tickets_.valid(which.index, which.generation)) return false;
    Ticket& ticket = tickets_[which.index];
    ClassState& of = backlog_.of_class(ticket.class_index);
    const Duration took = now - ticket.started;
    bool any_missed = false;
    for (std::size_t i = 0; i < ticket.signals.size(); ++i) {
      const bool missed = ticket.signals[i].deadline && now > *ticket.signals[i].deadline;
      any_missed = any_missed || missed;
      if (missed) of.metrics.missed.add();
      notify(observer, SignalHandled<signal_type>{ticket.signals[i], failure, ticket.waits[i], took, missed});
    }
    const std::size_t size = ticket.signals.size();
    of.metrics.running.sub(size);
    of.metrics.handled.add(size);
    if (failure) of.metrics.failed.add(size);
    of.estimate.observe(size, took);
    of.metrics.handling_mean_ns.set(static_cast<std::uint64_t>(of.estimate.signal_ns()));
    if (of.batches()) of.target.ended(size, any_missed);
    of.metrics.batch_target.set(of.target.size());
    shares_.charge(ticket.class_index, took.count() - static_cast<DeficitRoundRobin::Cost>(ticket.predicted_ns));
    for (const std::uint32_t key : ticket.keys) backlog_.free_key(key);
    tickets_.free(which.index);
    return true;
  }
  bool done(SignalTicket which, SteadyTime now) {
    NullObserver nobody;
    return done(which, now, std::nullopt, nobody);
  }

  /// Shows `visit(const Signal&, Extra&)` the first few that wait, of each class its first `count`, the most urgent class
  /// first: those that will probably go next, for whoever can prepare something.
  template <class Visit>
  void look_ahead(std::size_t count, Visit&& visit) {
    for (std::size_t i = 0; i < backlog_.class_count(); ++i)
      backlog_.look_ahead(i, count, [&](auto& slot) { visit(std::as_const(slot.signal), slot.extra); });
  }

  std::span<signal_type> signals(SignalTicket which) noexcept { return tickets_[which.index].signals; }
  std::span<Extra> extras(SignalTicket which) noexcept { return tickets_[which.index].extras; }

  /// From now on all are refused.
  void close() noexcept { closed_ = true; }
  bool closed() const noexcept { return closed_; }
  /// Gives all that wait to the sink.
  template <class Sink>
  void abandon(SteadyTime now, Sink& sink) {
    gathering_.clear();
    backlog_.abandon(now, sink);
  }

  /// Neither waiting nor under way.
  bool idle() const noexcept { return backlog_.waiting() == 0 && tickets_.running() == 0; }
  std::size_t waiting() const noexcept { return backlog_.waiting(); }
  std::size_t running() const noexcept { return tickets_.running(); }
  std::size_t class_count() const noexcept { return backlog_.class_count(); }
  const SignalClass& class_options(std::size_t index) const noexcept { return backlog_.of_class(index).options; }
  /// Of one class. From any thread.
  SignalClassStats stats(std::size_t index) const noexcept { return backlog_.of_class(index).metrics.snapshot(); }
  std::uint64_t unknown_class_refused() const noexcept { return unknown_class_.get(); }

 private:
  using ClassState = detail::SignalClassState;
  using Backlog = detail::SignalBacklog<signal_type, Extra>;
  using Tickets = detail::SignalTickets<signal_type, Extra>;
  using Ticket = typename Tickets::Ticket;

  static const Options& checked(const Options& options);
  static std::vector<std::uint32_t> weights_of(const Options& options);
  static std::size_t batch_max_of(const Options& options);

  SignalVerdict judge(const signal_type& signal, SteadyTime now);
  SignalVerdict judge_feasibility(const signal_type& signal, SteadyTime now);
  std::optional<std::size_t> choose(SteadyTime now);
  bool may_borrow(std::size_t index) const;
  template <class Sink>
  std::uint32_t take_one(std::uint32_t lane, SteadyTime now, Sink& sink);
  template <class Sink>
  std::uint32_t take_batch(std::uint32_t lane, SteadyTime now, Sink& sink);
  void start(std::uint32_t ticket, SteadyTime now);

  Options options_;
  Backlog backlog_;
  DeficitRoundRobin shares_;
  Tickets tickets_;
  detail::SignalGathering<Backlog> gathering_;
  detail::StatCounter unknown_class_;
  bool closed_ = false;
};

template <class P, class K, class E>
auto SignalScheduler<P, K, E>::checked(const Options& options) -> const Options& {
  if (options.classes.empty() || options.classes.size() > signal_classes_max)
    throw std::invalid_argument("SignalScheduler: between one and eight classes");
  if (options.parallel_max == 0) throw std::invalid_argument("SignalScheduler: parallel_max is zero");
  return options;
}

template <class P, class K, class E>
std::vector<std::uint32_t> SignalScheduler<P, K, E>::weights_of(const Options& options) {
  std::vector<std::uint32_t> weights;
  for (const SignalClass& each : options.classes) weights.push_back(each.weight);
  return weights;
}

template <class P, class K, class E>
std::size_t SignalScheduler<P, K, E>::batch_max_of(const Options& options) {
  std::size_t largest = 1;
  for (const SignalClass& each : options.classes) largest = std::max(largest, each.batch.size_max);
  return largest;
}

template <class P, class K, class E>
SignalVerdict SignalScheduler<P, K, E>::judge(const signal_type& signal, SteadyTime now) {
  const ClassState& to = backlog_.of_class(signal.class_index);
  if (closed_) return {SignalRefusal::draining, {}};
  if (signal.id && backlog_.seen(*signal.id, now)) return {SignalRefusal::duplicate, {}};
  const bool droppable = signal.deadline && to.options.late == LatePolicy::drop;
  if (droppable && *signal.deadline <= now) return {SignalRefusal::late, {}};
  if (to.waiting() >= to.options.capacity_max)
    return {SignalRefusal::full, Duration(static_cast<Duration::rep>(to.estimate.signal_ns()) + 1)};
  return droppable && to.options.feasibility ? judge_feasibility(signal, now) : SignalVerdict{};
}

template <class P, class K, class E>
SignalVerdict SignalScheduler<P, K, E>::judge_feasibility(const signal_type& signal, SteadyTime now) {
  const ClassState& to = backlog_.of_class(signal.class_index);
  // One at a time is let in whatever it may take: an estimate that refuses all would never be corrected.
  const bool probe = to.waiting() == 0 && to.metrics.running.get() == 0;
  const double own_ns = to.estimate.signal_ns();
  if (own_ns <= 0) return {};  // nothing is known yet
  const detail::WorkAhead ahead = detail::work_ahead(backlog_.classes(), signal.class_index, *signal.deadline, now,
                                                     static_cast<double>(options_.quantum.count()));
  const double key_ns = own_ns * backlog_.key_backlog(signal.key, *signal.deadline);
  const double over =
      detail::overrun_ns(ahead, tickets_.remaining_ns(now), probe ? 0 : own_ns, key_ns,
                         static_cast<double>(options_.parallel_max), options_.caution, *signal.deadline - now);
  if (over <= 0) return {};
  return {SignalRefusal::infeasible, Duration(static_cast<Duration::rep>(over) + 1)};
}

template <class P, class K, class E>
std::optional<std::size_t> SignalScheduler<P, K, E>::choose(SteadyTime now) {
  std::size_t backlogged = 0;
  double blocking_ns = 0;  // by what might go instead
  std::array<std::uint32_t, signal_classes_max> heads{};
  for (std::size_t i = 0; i < backlog_.class_count(); ++i) {
    heads[i] = backlog_.head_of(i);
    if (heads[i] == detail::no_index) {
      shares_.deactivate(i);
      continue;
    }
    shares_.activate(i);
    ++backlogged;
    const detail::HandlingEstimate& estimate = backlog_.of_class(i).estimate;
    blocking_ns = std::max(blocking_ns, estimate.signal_ns() + 2 * estimate.deviation_ns());
  }
  if (backlogged == 0) return std::nullopt;
  const std::size_t turn = shares_.next();
  if (backlogged == 1) return turn;  // nobody to be promoted over

  std::size_t urgent = turn;
  SteadyTime earliest = SteadyTime::max();
  for (std::size_t i = 0; i < backlog_.class_count(); ++i) {
    if (heads[i] == detail::no_index || !may_borrow(i)) continue;
    const auto& first = backlog_.first_of(heads[i]);
    if (!first.deadline || *first.deadline <= now || *first.deadline >= earliest) continue;
    const double slack_ns =
        static_cast<double>((*first.deadline - now).count()) - backlog_.of_class(i).estimate.signal_ns();
    if (slack_ns > blocking_ns) continue;
    urgent = i;
    earliest = *first.deadline;
  }
  if (urgent != turn) backlog_.of_class(urgent).metrics.promoted.add();
  return urgent;
}

template <class P, class K, class E>
bool SignalScheduler<P, K, E>::may_borrow(std::size_t index) const {
  return shares_.credit(index) > -options_.borrow_max.count() * backlog_.of_class(index).options.weight;
}

template <class P, class K, class E>
template <class Sink>
std::uint32_t SignalScheduler<P, K, E>::take_one(std::uint32_t from, SteadyTime now, Sink& sink) {
  const std::uint32_t at = backlog_.pop(from);
  const signal_type& signal = backlog_.slot(at).signal;
  const std::uint8_t class_index = signal.class_index;
  if (backlog_.of_class(class_index).batches() && signal.batch_key) {
    backlog_.settle(from);
    backlog_.join(at, true, now);  // its key was busy when it came: now it may have company
    return detail::no_index;
  }
  if (const auto fault = backlog_.fault_of(at, now)) {
    backlog_.settle(from);
    backlog_.drop(at, *fault, now, sink);
    return detail::no_index;
  }
  const std::uint32_t ticket = tickets_.take(class_index);
  backlog_.make_busy(at);
  backlog_.settle(from);
  backlog_.hand_out(at, tickets_[ticket], now);
  start(ticket, now);
  return ticket;
}

/// As many of a batch key as the class aims at. One that its key blocks goes to its key's lane; keys do not repeat.
template <class P, class K, class E>
template <class Sink>
std::uint32_t SignalScheduler<P, K, E>::take_batch(std::uint32_t from, SteadyTime now, Sink& sink) {
  const detail::SignalLane& lane = backlog_.lane(from);
  ClassState& of = backlog_.of_class(lane.class_index);
  const std::size_t aim = of.target.size();
  const std::uint32_t ticket = tickets_.take(lane.class_index);
  Ticket& batch = tickets_[ticket];
  while (lane.waiting > 0 && batch.signals.size() < aim) {
    const std::uint32_t at = backlog_.pop(from);
    if (backlog_.blocked(at)) {
      backlog_.join(at, false, now);
    } else if (const auto fault = backlog_.fault_of(at, now)) {
      if (*fault == SignalDrop::late) of.target.ended(0, true);
      backlog_.drop(at, *fault, now, sink);
    } else {
      backlog_.make_busy(at);
      backlog_.hand_out(at, batch, now);
    }
  }
  backlog_.settle(from);
  if (batch.signals.empty()) {
    tickets_.free(ticket);
    return detail::no_index;
  }
  start(ticket, now);
  return ticket;
}

template <class P, class K, class E>
void SignalScheduler<P, K, E>::start(std::uint32_t index, SteadyTime now) {
  const Ticket& ticket = tickets_[index];
  ClassState& of = backlog_.of_class(ticket.class_index);
  const std::uint64_t size = ticket.signals.size();
  const double predicted_ns = of.estimate.batch_ns(size);
  of.metrics.batches.add();
  if (size > of.metrics.batch_largest.get()) of.metrics.batch_largest.set(size);
  tickets_.started(index, now, predicted_ns);
  shares_.charge(ticket.class_index, static_cast<DeficitRoundRobin::Cost>(predicted_ns));
}

}  // namespace aura
