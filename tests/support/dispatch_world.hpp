// A cluster of uneven nodes whose speeds fluctuate, in virtual time, and those who dispatch to it.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/dispatcher.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

namespace dispatch {

using aura::Duration;
using aura::Random;
using aura::SteadyTime;
using namespace std::chrono_literals;

/// As in the simulations of C3 (Suresh, Canini, Schmid, Feldmann, NSDI 2015, section 6): exponential service times with
/// a mean of 4 ms, 250 us of network each way, and nodes that redraw their rate, mu or mu / D with equal odds, every
/// `period`. Ours are uneven besides: node i is 1 + i mod 4 times as fast. A change of rate counts for what is being
/// served, too.
struct World {
  std::size_t nodes = 16;
  std::size_t concurrency =
      1;  ///< that a node serves at a time; the others wait in one queue, first come first served
  std::size_t clients = 1;  ///< that dispatch; each sees only what it sent and was answered
  double load = 0.85;  ///< share of the average capacity
  Duration period = 100ms;
  double slowdown = 3;  ///< D
  std::size_t tasks = 20000;
  Duration service_mean = 4ms;  ///< of a node of speed 1 that is not slow
  Duration network = 250us;  ///< each way
  std::uint64_t seed = 1;
};

/// What a client sees when an answer comes.
struct Answer {
  std::size_t task = 0;
  std::size_t node = 0;
  Duration latency{};  ///< from dispatch to answer
  Duration service{};  ///< that the node reports
  std::size_t waiting{};  ///< at the node when it finished, as the node reports
};

/// A client's rule.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::size_t choose(SteadyTime now, Random& dice) = 0;
  virtual void began(std::size_t /*node*/, std::size_t /*task*/, SteadyTime) {}
  virtual void ended(const Answer&, SteadyTime) {}
};

/// One run. The arrivals, the sizes of the tasks and the moods of the nodes depend on the seed alone, so that two
/// policies meet the same. Returns the latencies in ms, in the order of the answers, without the first tenth.
template <class MakePolicy>
std::vector<double> run(const World& world, MakePolicy make_policy) {
  using Nanos = std::int64_t;
  enum class Kind : std::uint8_t { reaches_node, finishes, answers };
  struct Task {
    std::size_t client = 0, node = 0;
    Nanos sent = 0, begun = 0, served = 0;
    std::size_t waiting = 0;
    double work = 0;
  };
  struct Event {
    Nanos at = 0;
    std::uint64_t order = 0;
    Kind kind = Kind::answers;
    std::size_t task = 0;
    bool operator<(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };
  struct Node {
    double speed = 1;
    Nanos phase = 0;
    std::size_t serving = 0;
    std::queue<std::size_t> waiting{};
  };

  Random arrivals = Random::stream(world.seed, "arrivals");
  Random sizes = Random::stream(world.seed, "sizes");
  Random senders = Random::stream(world.seed, "senders");
  Random phases = Random::stream(world.seed, "phases");
  Random dice = Random::stream(world.seed, "dice");
  const auto exponential = [](Random& random) { return -std::log(1 - random.uniform()); };

  const Nanos period = world.period.count();
  const auto mean = static_cast<double>(world.service_mean.count());
  std::vector<Node> nodes(world.nodes);
  double capacity = 0;  // tasks a nanosecond, on average
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].speed = 1 + static_cast<double>(i % 4);
    nodes[i].phase = static_cast<Nanos>(phases.below(static_cast<std::uint64_t>(period)));
    capacity += nodes[i].speed * static_cast<double>(world.concurrency) * (1 + 1 / world.slowdown) / 2 / mean;
  }
  const double arrivals_mean = 1 / (capacity * world.load);

  std::vector<std::unique_ptr<Policy>> policies;
  for (std::size_t i = 0; i < world.clients; ++i) policies.push_back(make_policy(world));
  std::vector<Task> tasks(world.tasks);
  for (Task& task : tasks) {
    task.work = exponential(sizes) * mean;
    task.client = static_cast<std::size_t>(senders.below(world.clients));
  }

  std::priority_queue<Event> events;
  std::uint64_t order = 0;
  const auto schedule = [&](Nanos at, Kind kind, std::size_t task) { events.push({at, order++, kind, task}); };

  // When work that starts now is done, through the moods of the node in between.
  const auto finish = [&](std::size_t index, Nanos now, double work) {
    const Node& node = nodes[index];
    for (;;) {
      const Nanos interval = (now + node.phase) / period;
      const bool slow =
          (aura::mix64(aura::mix64(world.seed * 1024 + index) ^ static_cast<std::uint64_t>(interval)) & 1) != 0;
      const double rate = node.speed / (slow ? world.slowdown : 1);
      const Nanos end = (interval + 1) * period - node.phase;
      const double done = static_cast<double>(end - now) * rate;
      if (done >= work) return now + static_cast<Nanos>(work / rate);
      work -= done;
      now = end;
    }
  };
  const auto serve = [&](std::size_t task, Nanos now) {
    Task& one = tasks[task];
    ++nodes[one.node].serving;
    one.begun = now;
    schedule(finish(one.node, now, one.work), Kind::finishes, task);
  };

  std::vector<double> latencies;
  std::size_t next = 0;
  double arrival = exponential(arrivals) * arrivals_mean;
  while (next < tasks.size() || !events.empty()) {
    if (next < tasks.size() && (events.empty() || static_cast<Nanos>(arrival) <= events.top().at)) {
      const auto now = static_cast<Nanos>(arrival);
      Task& task = tasks[next];
      Policy& policy = *policies[task.client];
      task.sent = now;
      task.node = policy.choose(SteadyTime(Duration(now)), dice);
      policy.began(task.node, next, SteadyTime(Duration(now)));
      schedule(now + world.network.count(), Kind::reaches_node, next++);
      arrival += exponential(arrivals) * arrivals_mean;
      continue;
    }
    const Event event = events.top();
    events.pop();
    Task& task = tasks[event.task];
    Node& node = nodes[task.node];
    switch (event.kind) {
      case Kind::reaches_node:
        if (node.serving < world.concurrency) {
          serve(event.task, event.at);
        } else {
          node.waiting.push(event.task);
        }
        break;
      case Kind::finishes:
        --node.serving;
        task.served = event.at - task.begun;
        task.waiting = node.waiting.size();
        if (!node.waiting.empty()) {
          const std::size_t first = node.waiting.front();
          node.waiting.pop();
          serve(first, event.at);
        }
        schedule(event.at + world.network.count(), Kind::answers, event.task);
        break;
      case Kind::answers: {
        const Duration latency(event.at - task.sent);
        policies[task.client]->ended({event.task, task.node, latency, Duration(task.served), task.waiting},
                                     SteadyTime(Duration(event.at)));
        if (event.task >= tasks.size() / 10) latencies.push_back(static_cast<double>(latency.count()) * 1e-6);
        break;
      }
    }
  }
  return latencies;
}

/// By the nearest rank.
inline double percentile(std::vector<double> values, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  const std::size_t at = std::min(values.size() - 1, rank == 0 ? 0 : rank - 1);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

/// The index of the least score among `count`, ties broken evenly at random.
template <class Score>
std::size_t least(std::size_t count, Random& dice, Score score) {
  std::size_t best = 0;
  double lowest = score(std::size_t{0});
  std::uint64_t ties = 1;
  for (std::size_t i = 1; i < count; ++i) {
    const double one = score(i);
    if (one < lowest) {
      lowest = one;
      best = i;
      ties = 1;
    } else if (one == lowest && dice.below(++ties) == 0) {
      best = i;
    }
  }
  return best;
}

class RoundRobin final : public Policy {
 public:
  explicit RoundRobin(const World& world) : nodes_(world.nodes) {}
  std::size_t choose(SteadyTime, Random&) override { return next_++ % nodes_; }

 private:
  std::size_t nodes_, next_ = 0;
};

class Uniform final : public Policy {
 public:
  explicit Uniform(const World& world) : nodes_(world.nodes) {}
  std::size_t choose(SteadyTime, Random& dice) override { return static_cast<std::size_t>(dice.below(nodes_)); }

 private:
  std::size_t nodes_;
};

/// What the rules below have in common: the client's own count of what it sent and was not answered.
class Counting : public Policy {
 public:
  explicit Counting(const World& world) : outstanding_(world.nodes) {}
  void began(std::size_t node, std::size_t, SteadyTime) override { ++outstanding_[node]; }
  void ended(const Answer& answer, SteadyTime) override { --outstanding_[answer.node]; }

 protected:
  double outstanding(std::size_t node) const { return static_cast<double>(outstanding_[node]); }
  std::size_t nodes() const { return outstanding_.size(); }
  /// Two different nodes, evenly.
  std::pair<std::size_t, std::size_t> two(Random& dice) const {
    const auto first = static_cast<std::size_t>(dice.below(nodes()));
    const auto other = static_cast<std::size_t>(dice.below(nodes() - 1));
    return {first, other + (other >= first ? 1 : 0)};
  }

 private:
  std::vector<std::size_t> outstanding_;
};

class LeastOutstanding final : public Counting {
 public:
  using Counting::Counting;
  std::size_t choose(SteadyTime, Random& dice) override {
    return least(nodes(), dice, [&](std::size_t i) { return outstanding(i); });
  }
};

/// The less loaded of two (Mitzenmacher, IEEE TPDS 12(10), 2001).
class PowerOfTwo final : public Counting {
 public:
  using Counting::Counting;
  std::size_t choose(SteadyTime, Random& dice) override {
    const auto [a, b] = two(dice);
    return outstanding(a) <= outstanding(b) ? a : b;
  }
};

/// Finagle's and Linkerd's: of two nodes that with the lower cost x (pending + 1), where the cost of a node jumps to a
/// latency above it and decays from there with a mean lifetime of 10 s, their default.
class PeakEwma final : public Counting {
 public:
  explicit PeakEwma(const World& world, Duration decay = 10s)
      : Counting(world), decay_(decay), cost_(world.nodes), seen_(world.nodes) {}
  std::size_t choose(SteadyTime now, Random& dice) override {
    const auto [a, b] = two(dice);
    const double load_a = load(a, now), load_b = load(b, now);
    return load_a <= load_b ? a : b;
  }
  void ended(const Answer& answer, SteadyTime now) override {
    Counting::ended(answer, now);
    observe(answer.node, static_cast<double>(answer.latency.count()), now);
  }

 private:
  void observe(std::size_t node, double latency, SteadyTime now) {
    const double weight =
        std::exp(-static_cast<double>((now - seen_[node]).count()) / static_cast<double>(decay_.count()));
    cost_[node] = latency > cost_[node] ? latency : cost_[node] * weight + latency * (1 - weight);
    seen_[node] = now;
  }
  double load(std::size_t node, SteadyTime now) {
    observe(node, 0, now);
    if (cost_[node] == 0 && outstanding(node) != 0) return 0x1p47 + outstanding(node);
    return cost_[node] * (outstanding(node) + 1);
  }

  Duration decay_;
  std::vector<double> cost_;
  std::vector<SteadyTime> seen_;
};

/// C3's ranking as published: R - 1/mu + q^3/mu with q = 1 + outstanding x n + queue, where R, 1/mu and queue are moving
/// averages of what the answers carry and n is the number of clients. A new value weighs 0.9, as in the authors' simulator,
/// or less, which does better here: with exponential services a single one says little.
/// The ranking alone, without C3's rate control, which holds requests back at the client.
class C3 : public Counting {
 public:
  explicit C3(const World& world, double newest = 0.9)
      : Counting(world),
        newest_(newest),
        weight_(static_cast<double>(world.clients)),
        latency_(world.nodes),
        service_(world.nodes),
        queue_(world.nodes),
        seen_(world.nodes) {}
  std::size_t choose(SteadyTime, Random& dice) override {
    return least(nodes(), dice, [&](std::size_t i) {
      if (seen_[i] == 0) return 0.0;
      const double q = 1 + outstanding(i) * weight_ + queue_[i];
      return latency_[i] - service_[i] + q * q * q * service_[i];
    });
  }
  void ended(const Answer& answer, SteadyTime now) override {
    Counting::ended(answer, now);
    const std::size_t i = answer.node;
    const double weight = seen_[i] == 0 ? 1 : newest_;
    seen_[i] = 1;
    const auto blend = [&](double& average, double value) { average += weight * (value - average); };
    blend(latency_[i], static_cast<double>(answer.latency.count()));
    blend(service_[i], static_cast<double>(answer.service.count()));
    blend(queue_[i], static_cast<double>(answer.waiting));
  }

 private:
  double newest_;
  double weight_;
  std::vector<double> latency_, service_, queue_;
  std::vector<char> seen_;
};

/// C3 with averages smoother than its authors', which are the better ones here: the stronger rival.
class SmootherC3 final : public C3 {
 public:
  explicit SmootherC3(const World& world) : C3(world, 0.3) {}
};

/// Ours, told how many slots a node has and how many dispatch, and nothing of speeds, sizes or queues.
class Ours final : public Policy {
 public:
  explicit Ours(const World& world) : Ours(world, {}) {}
  Ours(const World& world, aura::DispatcherOptions options)
      : dispatcher_(with(options, world)), tickets_(world.tasks) {
    for (std::size_t i = 0; i < world.nodes; ++i) {
      (void)dispatcher_.join({.slots = static_cast<std::uint32_t>(world.concurrency)}, SteadyTime{});
    }
  }
  std::size_t choose(SteadyTime now, Random& dice) override { return dispatcher_.choose(now, dice).value(); }
  void began(std::size_t node, std::size_t task, SteadyTime now) override {
    tickets_[task] = dispatcher_.began(static_cast<std::uint32_t>(node), now);
  }
  void ended(const Answer& answer, SteadyTime now) override { dispatcher_.ended(tickets_[answer.task], now); }

 private:
  static aura::DispatcherOptions with(aura::DispatcherOptions options, const World& world) {
    options.dispatchers = static_cast<double>(world.clients);
    return options;
  }

  aura::Dispatcher dispatcher_;
  std::vector<aura::DispatchTicket> tickets_;
};

template <class Rule>
std::unique_ptr<Policy> make(const World& world) {
  return std::make_unique<Rule>(world);
}

}  // namespace dispatch
