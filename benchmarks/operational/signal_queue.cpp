// The queues beneath the signal router beside their peers: by deadline, by class, and from thread to thread.
//
// A pair is a pop and a push at a steady depth, on one thread. The pushed deadline is uniform over the second after the
// one just popped. Classes are five, with weights 16, 8, 4, 2 and 1, and arrive in that proportion; the peers have no
// order among classes, so each gets a queue for each class and our deficit round robin. A hand-off is a signal of 32
// bytes from a producer's thread to the consumer's. Its latency counts from the instant at which it was due (open loop).
#include "support/bench.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/class_queue.hpp>
#include <aura/operational/deadline_queue.hpp>
#include <aura/operational/detail/signal_inbox.hpp>

#include <boost/lockfree/queue.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef AURA_BENCH_TBB  // its header alone does not link
#include <tbb/concurrent_priority_queue.h>
#endif
#if __has_include(<concurrentqueue/concurrentqueue.h>)
#define AURA_BENCH_MOODYCAMEL
#include <concurrentqueue/concurrentqueue.h>
#endif

namespace {

using aura::DeadlineQueue;
using aura::DeficitRoundRobin;
using aura::Duration;
using aura::SteadyTime;
using aura::bench::Suite;
using aura::detail::InboxPush;
using aura::detail::SignalInbox;

// ---- by deadline

struct Dated {
  std::int64_t deadline_ns = 0;
  std::uint64_t value = 0;
  friend bool operator<(const Dated& a, const Dated& b) { return a.deadline_ns < b.deadline_ns; }
  friend bool operator>(const Dated& a, const Dated& b) { return b < a; }
};

struct ByDeadline {
  explicit ByDeadline(std::size_t depth) : queue({.capacity_max = depth}) {}
  void push(Dated dated) { queue.push(SteadyTime(Duration(dated.deadline_ns)), dated.value); }
  Dated pop() {
    const std::int64_t deadline_ns = queue.next_deadline().time_since_epoch().count();
    return {deadline_ns, queue.pop()};
  }
  DeadlineQueue<std::uint64_t> queue;
};

struct HeapAndMutex {
  explicit HeapAndMutex(std::size_t) {}
  void push(Dated dated) {
    const std::lock_guard lock(mutex);
    queue.push(dated);
  }
  Dated pop() {
    const std::lock_guard lock(mutex);
    const Dated first = queue.top();
    queue.pop();
    return first;
  }
  std::mutex mutex;
  std::priority_queue<Dated, std::vector<Dated>, std::greater<>> queue;
};

#ifdef AURA_BENCH_TBB
struct Tbb {
  explicit Tbb(std::size_t depth) : queue(depth) {}
  void push(Dated dated) { queue.push(dated); }
  Dated pop() {
    Dated first;
    queue.try_pop(first);
    return first;
  }
  tbb::concurrent_priority_queue<Dated, std::greater<>> queue;
};
#endif

/// A queue that has settled at its depth.
template <class Queue>
class DeadlinePairs {
 public:
  explicit DeadlinePairs(std::size_t depth) : depth_(depth), queue_(depth) {
    aura::Random dice(depth);
    for (auto& gap : gaps_ns_) gap = static_cast<std::uint32_t>(dice.below(1'000'000'000));
    for (std::size_t i = 0; i < depth; ++i) queue_.push({static_cast<std::int64_t>(dice.below(1'000'000'000)), i});
    run(5 * depth + 100'000);
  }

  /// Nanoseconds a pair. What the peer left in the caches is out of them before the clock runs.
  double measure(std::size_t pairs) {
    run(2 * depth_);
    return aura::bench::seconds_of([&] { run(pairs); }) * 1e9 / double(pairs);
  }

 private:
  void run(std::size_t pairs) {
    std::uint64_t sum = 0;
    for (const std::uint64_t end = at_ + pairs; at_ != end; ++at_) {
      const Dated first = queue_.pop();
      sum += first.value;
      queue_.push({first.deadline_ns + gaps_ns_[at_ % gaps_ns_.size()], at_});
    }
    aura::bench::keep(sum);
  }

  std::size_t depth_;
  Queue queue_;
  std::array<std::uint32_t, 4096> gaps_ns_{};
  std::uint64_t at_ = 0;
};

// ---- by class

constexpr std::array<DeficitRoundRobin::Weight, 5> weights{16, 8, 4, 2, 1};

struct ByClass {
  explicit ByClass(std::size_t depth) : queue(weights, depth) {}
  void push(std::size_t at, std::uint64_t value) { queue.push(at, value); }
  std::uint64_t pop() { return queue.pop(); }
  aura::ClassQueue<std::uint64_t> queue;
};

/// A queue for each class, taken from in turn.
template <class Queue>
class Turns {
 public:
  explicit Turns(std::size_t depth) {
    for (auto& queue : queues_) queue = std::make_unique<Queue>(depth);
  }
  void push(std::size_t at, std::uint64_t value) {
    queues_[at]->push(value);
    if (sizes_[at]++ == 0) turns_.activate(at);
  }
  std::uint64_t pop() {
    const std::size_t at = turns_.next();
    turns_.charge(at, 1);
    if (--sizes_[at] == 0) turns_.deactivate(at);
    return queues_[at]->pop();
  }

 private:
  DeficitRoundRobin turns_{weights};
  std::array<std::unique_ptr<Queue>, weights.size()> queues_;
  std::array<std::size_t, weights.size()> sizes_{};
};

struct PlainDeque {
  explicit PlainDeque(std::size_t) {}
  void push(std::uint64_t value) { queue.push_back(value); }
  std::uint64_t pop() {
    const std::uint64_t first = queue.front();
    queue.pop_front();
    return first;
  }
  std::deque<std::uint64_t> queue;
};

/// One mutex around all classes.
class DequesAndMutex {
 public:
  explicit DequesAndMutex(std::size_t depth) : turns_(depth) {}
  void push(std::size_t at, std::uint64_t value) {
    const std::lock_guard lock(mutex_);
    turns_.push(at, value);
  }
  std::uint64_t pop() {
    const std::lock_guard lock(mutex_);
    return turns_.pop();
  }

 private:
  std::mutex mutex_;
  Turns<PlainDeque> turns_;
};

struct Lockfree {
  explicit Lockfree(std::size_t depth) : queue(depth + 1) {}
  void push(std::uint64_t value) { queue.push(value); }
  std::uint64_t pop() {
    std::uint64_t first = 0;
    queue.pop(first);
    return first;
  }
  boost::lockfree::queue<std::uint64_t> queue;
};

#ifdef AURA_BENCH_MOODYCAMEL
struct Moodycamel {
  explicit Moodycamel(std::size_t depth) : queue(depth + 1) {}
  void push(std::uint64_t value) { queue.enqueue(producer, value); }
  std::uint64_t pop() {
    std::uint64_t first = 0;
    queue.try_dequeue_from_producer(producer, first);
    return first;
  }
  moodycamel::ConcurrentQueue<std::uint64_t> queue;
  moodycamel::ProducerToken producer{queue};
};
#endif

template <class Queue>
class ClassPairs {
 public:
  explicit ClassPairs(std::size_t depth) : depth_(depth), queue_(depth) {
    aura::Random dice(depth);
    for (auto& arrival : arrivals_) {
      std::uint64_t draw = dice.below(31);  // the sum of the weights
      while (draw >= weights[arrival]) draw -= weights[arrival++];
    }
    for (std::size_t i = 0; i < depth; ++i) queue_.push(arrivals_[i % arrivals_.size()], i);
    run(5 * depth + 100'000);
  }

  /// Nanoseconds a pair. What the peer left in the caches is out of them before the clock runs.
  double measure(std::size_t pairs) {
    run(2 * depth_);
    return aura::bench::seconds_of([&] { run(pairs); }) * 1e9 / double(pairs);
  }

 private:
  void run(std::size_t pairs) {
    std::uint64_t sum = 0;
    for (const std::uint64_t end = at_ + pairs; at_ != end; ++at_) {
      sum += queue_.pop();
      queue_.push(arrivals_[at_ % arrivals_.size()], at_);
    }
    aura::bench::keep(sum);
  }

  std::size_t depth_;
  Queue queue_;
  std::array<std::uint8_t, 4096> arrivals_{};
  std::uint64_t at_ = 0;
};

// ---- from thread to thread

struct Signal {
  std::int64_t due_ns = 0;
  std::array<std::uint64_t, 3> rest{};
};

constexpr std::size_t capacity = 65'536;

std::int64_t clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// The inbox as the router uses it: a producer that is told so posts the consumer's call, which drains and rests.
class Inbox {
 public:
  class Producer {
   public:
    explicit Producer(Inbox& inbox) : inbox_(inbox) {}
    void push(Signal signal) {
      InboxPush result = inbox_.queue_.push(std::move(signal));
      while (result == InboxPush::full) {
        std::this_thread::yield();
        result = inbox_.queue_.push(std::move(signal));
      }
      if (result == InboxPush::wake) inbox_.posted_.store(true, std::memory_order_release);
    }

   private:
    Inbox& inbox_;
  };

  /// One turn of the consumer; how many signals it took.
  template <class Take>
  std::size_t consume(Take take) {
    if (!posted_.load(std::memory_order_acquire)) return 0;
    posted_.store(false, std::memory_order_relaxed);
    std::size_t count = 0;
    do {
      while (const std::size_t drained = queue_.drain(take, 256)) count += drained;
    } while (!queue_.rest());
    return count;
  }

 private:
  SignalInbox<Signal> queue_{capacity};
  alignas(128) std::atomic<bool> posted_{false};
};

#ifdef AURA_BENCH_MOODYCAMEL
/// Polled: it has no way to say that the consumer rests. Bounded by taking no more memory than it began with, to which a
/// producer that finds none comes back as with the inbox.
class MoodycamelInbox {
 public:
  class Producer {
   public:
    explicit Producer(MoodycamelInbox& inbox) : inbox_(inbox), token_(inbox.queue_) {}
    void push(Signal signal) {
      while (!inbox_.queue_.try_enqueue(token_, signal)) std::this_thread::yield();
    }

   private:
    MoodycamelInbox& inbox_;
    moodycamel::ProducerToken token_;
  };

  template <class Take>
  std::size_t consume(Take take) {
    std::array<Signal, 256> batch;
    const std::size_t count = queue_.try_dequeue_bulk(token_, batch.begin(), batch.size());
    for (std::size_t i = 0; i < count; ++i) take(std::move(batch[i]));
    return count;
  }

 private:
  moodycamel::ConcurrentQueue<Signal> queue_{capacity};
  moodycamel::ConsumerToken token_{queue_};
};
#endif

/// Runs `produce(queue's producer, number)` on a thread for each, and this thread as the consumer until it has `total`.
template <class Queue, class Produce, class Take>
double hand_off_seconds(std::size_t producers, std::size_t total, Produce produce, Take take) {
  Queue queue;
  std::atomic<std::size_t> ready = 0;
  std::atomic<bool> go = false;
  std::vector<std::thread> threads;
  for (std::size_t number = 0; number < producers; ++number) {
    threads.emplace_back([&, number] {
      typename Queue::Producer producer(queue);
      ready.fetch_add(1);
      while (!go.load()) std::this_thread::yield();
      produce(producer, number);
    });
  }
  while (ready.load() != producers) std::this_thread::yield();
  const double seconds = aura::bench::seconds_of([&] {
    go.store(true);
    for (std::size_t taken = 0; taken < total;) {
      const std::size_t count = queue.consume(take);
      taken += count;
      if (count == 0) std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  return seconds;
}

/// Nanoseconds a signal, as fast as producers and consumer go.
template <class Queue>
double hand_off_ns(std::size_t producers, std::size_t total) {
  const std::size_t each = total / producers;
  std::uint64_t sum = 0;
  const double seconds = hand_off_seconds<Queue>(
      producers, each * producers,
      [&](auto& producer, std::size_t) {
        for (std::size_t i = 0; i < each; ++i) producer.push({.due_ns = static_cast<std::int64_t>(i)});
      },
      [&](const Signal& signal) { sum += static_cast<std::uint64_t>(signal.due_ns); });
  aura::bench::keep(sum);
  return seconds * 1e9 / double(each * producers);
}

struct Latency {
  double p50_us = 0;
  double p99_us = 0;
};

constexpr std::int64_t signals_per_second = 100'000;  // of all producers together

/// Open loop: a signal that is late because of another's delay counts from when it was due.
template <class Queue>
Latency hand_off_latency(std::size_t producers, std::size_t total) {
  const std::size_t each = total / producers;
  const std::int64_t gap_ns = 1'000'000'000 / signals_per_second * static_cast<std::int64_t>(producers);
  const std::int64_t start_ns = clock_ns() + 2'000'000;
  std::vector<double> latencies_us;
  latencies_us.reserve(each * producers);
  hand_off_seconds<Queue>(
      producers, each * producers,
      [&](auto& producer, std::size_t number) {
        std::int64_t due_ns =
            start_ns + static_cast<std::int64_t>(number) * gap_ns / static_cast<std::int64_t>(producers);
        for (std::size_t i = 0; i < each; ++i, due_ns += gap_ns) {
          while (clock_ns() < due_ns) std::this_thread::yield();
          producer.push({.due_ns = due_ns});
        }
      },
      [&](const Signal& signal) { latencies_us.push_back(double(clock_ns() - signal.due_ns) / 1e3); });
  std::sort(latencies_us.begin(), latencies_us.end());
  return {latencies_us[latencies_us.size() / 2], latencies_us[latencies_us.size() * 99 / 100]};
}

// ---- rows

void deadline_rows(Suite& suite, std::size_t depth) {
  const std::string size = std::to_string(depth);
  const std::size_t pairs = suite.quick() ? 100'000 : 1'000'000;
  if (const std::string name = "signal_router/deadline_pair/" + size; suite.wants(name)) {
    DeadlinePairs<ByDeadline> ours(depth);
    DeadlinePairs<HeapAndMutex> peer(depth);
    suite.compare(
        {.name = name, .unit = "ns"}, [&] { return ours.measure(pairs); }, "std::priority_queue and mutex",
        [&] { return peer.measure(pairs); });
  }
#ifdef AURA_BENCH_TBB
  if (const std::string name = "signal_router/deadline_pair_tbb/" + size; suite.wants(name)) {
    DeadlinePairs<Tbb> peer(depth);
    suite.measure({.name = name, .unit = "ns"}, [&] { return peer.measure(pairs); });
  }
#endif
}

template <class Queue>
void class_peer_row(Suite& suite, const std::string& name, std::size_t depth, std::size_t pairs) {
  if (!suite.wants(name)) return;
  ClassPairs<Turns<Queue>> peer(depth);
  suite.measure({.name = name, .unit = "ns"}, [&] { return peer.measure(pairs); });
}

void class_rows(Suite& suite, std::size_t depth) {
  const std::string size = std::to_string(depth);
  const std::size_t pairs = suite.quick() ? 100'000 : 1'000'000;
  if (const std::string name = "signal_router/class_pair/" + size; suite.wants(name)) {
    ClassPairs<ByClass> ours(depth);
    ClassPairs<DequesAndMutex> peer(depth);
    suite.compare(
        {.name = name, .unit = "ns"}, [&] { return ours.measure(pairs); }, "std::deque per class and mutex",
        [&] { return peer.measure(pairs); });
  }
  class_peer_row<Lockfree>(suite, "signal_router/class_pair_lockfree/" + size, depth, pairs);
#ifdef AURA_BENCH_MOODYCAMEL
  class_peer_row<Moodycamel>(suite, "signal_router/class_pair_moodycamel/" + size, depth, pairs);
#endif
}

void hand_off_row(Suite& suite, std::size_t producers) {
  const aura::bench::Row row{.name = "signal_router/handoff/" + std::to_string(producers), .unit = "ns"};
  const std::size_t total = suite.quick() ? 100'000 : 1'000'000;
  const auto ours = [&] { return hand_off_ns<Inbox>(producers, total); };
#ifdef AURA_BENCH_MOODYCAMEL
  suite.compare(row, ours, "moodycamel::ConcurrentQueue",
                [&] { return hand_off_ns<MoodycamelInbox>(producers, total); });
#else
  suite.measure(row, ours);
#endif
}

void latency_rows(Suite& suite, std::size_t producers) {
  const std::string name = "signal_router/handoff_latency_us/" + std::to_string(producers);
  if (!suite.wants(name + "/p50") && !suite.wants(name + "/p99")) return;
  fmt::print("latency, open loop at {} signals a second:\n", signals_per_second);
  const std::size_t total = static_cast<std::size_t>(signals_per_second) / (suite.quick() ? 10 : 2);
  std::vector<double> p50, p99, peer_p50, peer_p99;
  for (int run = 0; run < (suite.quick() ? 3 : 5); ++run) {
    const Latency ours = hand_off_latency<Inbox>(producers, total);
    p50.push_back(ours.p50_us);
    p99.push_back(ours.p99_us);
#ifdef AURA_BENCH_MOODYCAMEL
    const Latency peer = hand_off_latency<MoodycamelInbox>(producers, total);
    peer_p50.push_back(peer.p50_us);
    peer_p99.push_back(peer.p99_us);
#endif
  }
  const auto add = [&](const char* quantile, const std::vector<double>& figures, const std::vector<double>& peer) {
    std::optional<std::pair<std::string, double>> baseline;
    if (!peer.empty()) baseline.emplace("moodycamel::ConcurrentQueue, polled", aura::bench::median_of(peer));
    suite.add({.name = name + quantile, .unit = "us"}, figures, baseline);
  };
  add("/p50", p50, peer_p50);
  add("/p99", p99, peer_p99);
}

void say_what_is_missing() {
#ifndef AURA_BENCH_TBB
  fmt::print("without tbb::concurrent_priority_queue: it is in libtbb-dev\n");
#endif
#ifndef AURA_BENCH_MOODYCAMEL
  fmt::print("without moodycamel::ConcurrentQueue: it is in libconcurrentqueue-dev\n");
#endif
}

}  // namespace

int main(int argc, char** argv) {
  Suite suite(argc, argv);
  say_what_is_missing();
  for (const std::size_t depth : {64u, 1000u, 100'000u}) deadline_rows(suite, depth);
  for (const std::size_t depth : {64u, 1000u, 100'000u}) class_rows(suite, depth);
  for (const std::size_t producers : {1u, 4u}) {
    if (!suite.wants("signal_router/handoff/" + std::to_string(producers)) &&
        !suite.wants("signal_router/handoff_latency_us/" + std::to_string(producers) + "/p99"))
      continue;
    const unsigned cores = std::thread::hardware_concurrency();
    if (cores < producers + 1) {
      fmt::print(
          "the hand-off from {} producers needs {} cores, and here are {}: its figures tell of the system's "
          "scheduler\n",
          producers, producers + 1, cores);
    }
    hand_off_row(suite, producers);
    latency_rows(suite, producers);
  }
  return suite.finish();
}
