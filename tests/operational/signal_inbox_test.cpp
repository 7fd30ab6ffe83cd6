// The inbox: nothing is lost, each producer's order holds, and the consumer is woken exactly when it rests.
#include "counted.hpp"
#include "support/catch.hpp"

#include <aura/operational/detail/signal_inbox.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace {

using aura::detail::InboxPush;
using aura::detail::SignalInbox;

struct Signal {
  std::uint32_t producer = 0;
  std::uint32_t number = 0;
};

constexpr std::uint32_t producers = 4;

/// What the consumer saw. Not synchronised: that there is one consumer at a time is what the tests are about.
struct Seen {
  std::vector<std::uint32_t> next = std::vector<std::uint32_t>(producers);
  std::uint64_t count = 0;
  std::uint64_t out_of_order = 0;

  void operator()(const Signal& signal) {
    out_of_order += next[signal.producer] != signal.number;
    next[signal.producer] = signal.number + 1;
    ++count;
  }
};

/// Starts a thread for each producer, all at once, and waits for them.
template <class Produce>
void run_producers(Produce produce) {
  std::atomic<std::uint32_t> ready = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t producer = 0; producer < producers; ++producer) {
    threads.emplace_back([&, producer] {
      ready.fetch_add(1);
      while (ready.load() != producers) std::this_thread::yield();
      produce(producer);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

constexpr int tries_max =
    20'000'000;  // of a push into a full inbox, or a look for work: a bound, not a limit in time

template <class T>
bool push_until_queued(SignalInbox<T>& inbox, T value, InboxPush& result) {
  for (int tries = 0; tries < tries_max; ++tries) {
    result = inbox.push(std::move(value));
    if (result != InboxPush::full) return true;
    std::this_thread::yield();
  }
  return false;
}

}  // namespace

TEST_CASE("an inbox is first in, first out, lap after lap, and refuses when it is full") {
  SignalInbox<int> inbox(5);
  REQUIRE(inbox.capacity() == 8);
  int pushed = 0;
  int popped = 0;
  for (int lap = 0; lap < 100; ++lap) {
    while (inbox.push(int(pushed)) != InboxPush::full) ++pushed;
    REQUIRE(pushed - popped == 8);
    const auto take = [&](int value) { REQUIRE(value == popped++); };
    REQUIRE(inbox.drain(take, 3) == 3);
    REQUIRE(inbox.push(int(pushed++)) != InboxPush::full);
    REQUIRE(inbox.drain(take, 100) == 6);
    REQUIRE(pushed == popped);
  }
}

TEST_CASE("only the first push of a rest asks for the consumer to be woken") {
  SignalInbox<int> inbox(8);
  const auto ignore = [](int) {};
  REQUIRE(inbox.push(1) == InboxPush::wake);  // it rests from the start
  REQUIRE(inbox.push(2) == InboxPush::queued);
  REQUIRE_FALSE(inbox.rest());  // there is something
  REQUIRE(inbox.push(3) == InboxPush::queued);
  REQUIRE(inbox.drain(ignore, 8) == 3);
  REQUIRE(inbox.push(4) == InboxPush::queued);  // it is empty, but at work
  REQUIRE(inbox.drain(ignore, 8) == 1);
  REQUIRE(inbox.rest());
  REQUIRE(inbox.push(5) == InboxPush::wake);
  REQUIRE(inbox.push(6) == InboxPush::queued);
}

TEST_CASE("what is refused is as it was, and what is left in an inbox is destroyed with it") {
  int alive = 0;
  Counted mine(alive);
  {
    SignalInbox<Counted> inbox(2);
    for (int i = 0; i < 2; ++i) REQUIRE(inbox.push(Counted(alive)) != InboxPush::full);
    REQUIRE(inbox.push(std::move(mine)) == InboxPush::full);
    REQUIRE(mine.holds());
    REQUIRE(alive == 3);
    REQUIRE(inbox.drain([](Counted&& one) { REQUIRE(one.holds()); }, 1) == 1);
    REQUIRE(alive == 2);
  }
  REQUIRE(alive == 1);
}

TEST_CASE("four producers lose nothing and keep their order, and each rest ends in one wake", "[threads]") {
  for (const std::size_t capacity : {2u, 64u, 4096u}) {
    const std::uint32_t each = capacity < 64 ? 5'000 : 50'000;
    SignalInbox<Signal> inbox(capacity);
    std::atomic<int> posted = 0;  // calls of the consumer that are due: never more than one
    std::atomic<bool> posted_twice = false;
    std::atomic<bool> gave_up = false;
    std::atomic<bool> done = false;
    Seen seen;
    std::thread consumer([&] {
      while (!done.load() || posted.load() != 0) {
        if (posted.load() == 0) {
          std::this_thread::yield();
          continue;
        }
        posted.store(0);
        do {
          while (inbox.drain(std::ref(seen), 16) != 0) continue;
        } while (!inbox.rest());
      }
    });
    run_producers([&](std::uint32_t producer) {
      for (std::uint32_t number = 0; number < each && !gave_up.load(); ++number) {
        InboxPush result{};
        if (!push_until_queued(inbox, Signal{producer, number}, result)) gave_up.store(true);  // a wake was lost
        if (result == InboxPush::wake && posted.fetch_add(1) != 0) posted_twice.store(true);
      }
    });
    done.store(true);
    consumer.join();
    REQUIRE_FALSE(gave_up.load());
    REQUIRE_FALSE(posted_twice.load());
    REQUIRE(seen.count == std::uint64_t{producers} * each);
    REQUIRE(seen.out_of_order == 0);
    REQUIRE(inbox.rest());  // and there is nothing left
  }
}

TEST_CASE("whoever is told to wake the consumer may be the consumer: there is one at a time", "[threads]") {
  SignalInbox<Signal> inbox(64);
  constexpr std::uint32_t each = 50'000;
  std::atomic<bool> gave_up = false;
  std::atomic<int> consumers = 0;
  std::atomic<bool> two_at_once = false;
  Seen seen;  // the thread sanitizer watches it
  run_producers([&](std::uint32_t producer) {
    for (std::uint32_t number = 0; number < each && !gave_up.load(); ++number) {
      InboxPush result{};
      if (!push_until_queued(inbox, Signal{producer, number}, result)) gave_up.store(true);
      if (result != InboxPush::wake) continue;
      do {
        if (consumers.fetch_add(1, std::memory_order_relaxed) != 0) two_at_once.store(true);
        while (inbox.drain(std::ref(seen), 16) != 0) continue;
        consumers.fetch_sub(1, std::memory_order_relaxed);
      } while (!inbox.rest());
    }
  });
  REQUIRE_FALSE(gave_up.load());
  REQUIRE_FALSE(two_at_once.load());
  REQUIRE(seen.count == std::uint64_t{producers} * each);
  REQUIRE(seen.out_of_order == 0);
}
