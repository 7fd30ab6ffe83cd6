#include "support/catch.hpp"

#include <aura/sim/network.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Duration;
using aura::Random;
using aura::Result;
using aura::SteadyTime;
using aura::sim::Datagram;
using aura::sim::LinkOptions;
using aura::sim::Network;
using aura::sim::network_errc;
using aura::sim::NodeId;
using aura::sim::Order;
using aura::sim::Runtime;

constexpr NodeId a{1}, b{2}, c{3};

/// Receives for ever and writes down what came when.
struct Listener {
  Listener(Runtime& runtime, Network& network, NodeId id) : world(runtime), endpoint(network.join(id)) { listen(); }

  void listen() {
    endpoint.async_receive([this](Result<Datagram> got) {
      if (!got) {
        ended = got.error();
        return;
      }
      bytes.push_back(got->bytes);
      at.push_back(world.steady_now());
      listen();
    });
  }

  Runtime& world;
  Network::Endpoint endpoint;
  std::vector<std::string> bytes{};
  std::vector<SteadyTime> at{};
  std::optional<aura::Error> ended{};
};

bool balanced(const Network& network) {
  const auto& n = network.counters();
  return n.sent + n.doubled == n.arrived + n.lost + n.cut + n.unreachable + n.overflowed + network.in_flight();
}

double mean_ms(const aura::sim::Latency& latency, Duration& least) {
  Random dice(1);
  double sum = 0;
  least = Duration::max();
  for (int i = 0; i < 100'000; ++i) {
    const Duration drawn = latency(dice);
    least = std::min(least, drawn);
    sum += std::chrono::duration<double, std::milli>(drawn).count();
  }
  return sum / 100'000;
}

}  // namespace

TEST_CASE("a datagram arrives whole, once, after the link's latency") {
  Runtime world;
  Network network(world, {.link = {.latency = aura::sim::constant_latency(7ms)}});
  Listener listener(world, network, b);
  network.join(a).send(b, "hello").value();
  world.run();
  REQUIRE(listener.bytes == std::vector<std::string>{"hello"});
  REQUIRE(listener.at.front() == SteadyTime(7ms));
  REQUIRE(network.counters() == aura::sim::NetworkCounters{.sent = 1, .arrived = 1});
}

TEST_CASE("a coroutine receives, and what came before it asked waits for it") {
  Runtime world;
  Network network(world);
  const auto sender = network.join(a);
  std::vector<std::string> got;
  asio::co_spawn(
      world,
      [](Network::Endpoint endpoint, std::vector<std::string>& into) -> asio::awaitable<void> {
        for (int i = 0; i < 2; ++i) {
          Result<Datagram> datagram = co_await endpoint.async_receive(asio::use_awaitable);
          into.push_back(datagram->bytes);
        }
      }(network.join(b), got),
      asio::detached);
  sender.send(b, "one").value();
  world.run_for(1s);
  REQUIRE(got == std::vector<std::string>{"one"});
  sender.send(b, "two").value();
  world.run();
  REQUIRE(got == std::vector<std::string>{"one", "two"});
}

TEST_CASE("loss and duplication happen as often as they are set to") {
  Runtime world({.seed = 11});
  Network network(world, {.link = {.loss = 0.2, .duplication = 0.1}});
  Listener listener(world, network, b);
  const auto sender = network.join(a);
  constexpr int count = 20'000;
  for (int i = 0; i < count; ++i) {
    sender.send(b, std::to_string(i)).value();
    world.run_for(10ms);
  }
  world.run();
  REQUIRE(balanced(network));
  // Five standard deviations of the binomial: false alarms are one in two million seeds, and the seed is fixed.
  const auto doubled = static_cast<double>(network.counters().doubled);
  const auto lost = static_cast<double>(network.counters().lost);
  REQUIRE(doubled / count == Approx(0.1).margin(5 * 0.0022));
  REQUIRE(lost / (count + doubled) == Approx(0.2).margin(5 * 0.0028));
  REQUIRE(listener.bytes.size() == network.counters().arrived);
  const std::set<std::string> distinct(listener.bytes.begin(), listener.bytes.end());
  REQUIRE(distinct.size() < listener.bytes.size());
}

TEST_CASE("datagrams overtake one another where reordering is set, and only there") {
  for (const double reordering : {0.0, 0.1}) {
    Runtime world({.order = Order::fifo});
    Network network(world, {.link = {.reordering = reordering}});
    Listener listener(world, network, b);
    const auto sender = network.join(a);
    std::vector<std::string> sent;
    for (int i = 100; i < 900; ++i) {
      sent.push_back(std::to_string(i));
      sender.send(b, sent.back()).value();
      world.run_for(100us);
    }
    world.run();
    REQUIRE(listener.bytes.size() == sent.size());
    REQUIRE((listener.bytes == sent) == (reordering == 0.0));
    REQUIRE(std::is_permutation(sent.begin(), sent.end(), listener.bytes.begin()));
  }
}

TEST_CASE("a partition lets nothing through between its groups, everything within, and heals") {
  Runtime world;
  Network network(world);
  Listener la(world, network, a), lb(world, network, b), lc(world, network, c);
  const auto everyone_sends = [&] {
    for (Listener* from : {&la, &lb, &lc})
      for (const NodeId to : {a, b, c})
        if (to != from->endpoint.id()) from->endpoint.send(to, "x").value();
    world.run();
  };
  network.partition({{a, b}});  // c is alone with those that nobody named
  everyone_sends();
  REQUIRE(la.bytes.size() == 1);
  REQUIRE(lb.bytes.size() == 1);
  REQUIRE(lc.bytes.empty());
  REQUIRE(network.counters().cut == 4);
  network.partition({{a}, {b, c}});
  everyone_sends();
  REQUIRE(la.bytes.size() == 1);
  REQUIRE(lb.bytes.size() == 2);
  REQUIRE(lc.bytes.size() == 1);
  network.heal();
  everyone_sends();
  REQUIRE(la.bytes.size() == 3);
  REQUIRE(lc.bytes.size() == 3);
  REQUIRE(balanced(network));
}

TEST_CASE("a one-way cut stops one direction, and what is on its way when it comes") {
  Runtime world;
  Network network(world);
  Listener la(world, network, a), lb(world, network, b);
  la.endpoint.send(b, "on its way").value();
  network.cut(a, b);
  la.endpoint.send(b, "after").value();
  lb.endpoint.send(a, "back").value();
  world.run();
  REQUIRE(lb.bytes.empty());
  REQUIRE(la.bytes.size() == 1);
  network.mend(a, b);
  la.endpoint.send(b, "again").value();
  world.run();
  REQUIRE(lb.bytes == std::vector<std::string>{"again"});
  REQUIRE(network.counters().cut == 2);
}

TEST_CASE("a link may have its own options, for one direction") {
  Runtime world;
  Network network(world);
  Listener la(world, network, a), lb(world, network, b);
  network.set_link(a, b, {.latency = aura::sim::constant_latency(1s)});
  la.endpoint.send(b, "slow").value();
  lb.endpoint.send(a, "quick").value();
  world.run();
  REQUIRE(lb.at.front() == SteadyTime(1s));
  REQUIRE(la.at.front() == SteadyTime(1ms));
  network.set_default_link({.latency = aura::sim::constant_latency(2ms), .loss = 1.0});
  lb.endpoint.send(a, "lost").value();
  world.run();
  REQUIRE(la.bytes.size() == 1);
  REQUIRE(network.counters().lost == 1);
}

TEST_CASE("a crashed node loses its inbox, its receive and its voice, until it joins again") {
  Runtime world;
  Network network(world);
  Listener listener(world, network, b);
  const auto sender = network.join(a);
  const auto deaf = network.join(c);
  sender.send(c, "waits in the inbox").value();
  world.run();

  network.crash(b);
  network.crash(c);
  REQUIRE_FALSE(listener.ended);  // not inside the call
  world.run();
  REQUIRE(listener.ended->is(network_errc::down));
  REQUIRE(listener.endpoint.send(a, "x").error().is(network_errc::down));
  sender.send(b, "to nobody").value();
  world.run();
  REQUIRE(network.counters().unreachable == 1);

  sender.send(b, "early").value();  // on its way while it is down, and there when it is up
  network.join(b);
  network.join(c);
  listener.listen();
  std::optional<std::string> got;
  deaf.async_receive([&](Result<Datagram> datagram) { got = datagram->bytes; });
  sender.send(c, "new").value();
  world.run();
  REQUIRE(listener.bytes == std::vector<std::string>{"early"});
  REQUIRE(got == "new");
  REQUIRE(balanced(network));
}

TEST_CASE("a cancelled receive ends at once and loses no datagram") {
  Runtime world;
  Network network(world);
  const auto sender = network.join(a), receiver = network.join(b);
  asio::cancellation_signal signal;
  std::optional<Result<Datagram>> result;
  const auto receive = [&] {
    receiver.async_receive(asio::bind_cancellation_slot(signal.slot(), [&](Result<Datagram> got) { result = got; }));
  };
  receive();
  signal.emit(asio::cancellation_type::terminal);
  REQUIRE_FALSE(result);
  world.run();
  REQUIRE(result->error().is(network_errc::cancelled));

  sender.send(b, "later").value();
  world.run();
  receive();
  world.run();
  REQUIRE(result->value().bytes == "later");
  signal.emit(asio::cancellation_type::terminal);  // too late
  REQUIRE(world.run() == 0);
}

TEST_CASE("every bound is kept, and what it costs is counted") {
  Runtime world;
  Network network(world, {.largest_datagram = 8, .inbox_max = 3, .in_flight_max = 5});
  const auto sender = network.join(a), receiver = network.join(b);
  REQUIRE(sender.largest_datagram() == 8);
  REQUIRE(sender.send(b, "123456789").error().is(network_errc::too_large));
  for (int i = 0; i < 7; ++i) sender.send(b, "12345678").value();
  REQUIRE(network.in_flight() == 5);
  world.run();
  REQUIRE(network.counters().arrived == 3);
  REQUIRE(network.counters().overflowed == 2 + 2);
  REQUIRE(balanced(network));

  int busy = 0, got = 0;
  for (int i = 0; i < 5; ++i) receiver.async_receive([&](Result<Datagram> datagram) { datagram ? ++got : ++busy; });
  world.run();
  REQUIRE(got == 3);
  REQUIRE(busy == 1);  // the fourth waits, so the fifth can't
  sender.send(NodeId{99}, "x").value();
  world.run();
  REQUIRE(network.counters().unreachable == 1);
}

TEST_CASE("a Byzantine peer changes what is sent, or swallows it") {
  Runtime world;
  Network network(world);
  Listener listener(world, network, b);
  network.on_send([](Datagram& datagram) {
    datagram.bytes.front() ^= 1;
    return datagram.bytes.size() > 1;
  });
  network.join(a).send(b, "ab").value();
  network.join(a).send(b, "a").value();
  world.run();
  REQUIRE(listener.bytes == std::vector<std::string>{"`b"});
  REQUIRE(network.counters().lost == 1);
}

TEST_CASE("the same seed delivers the same, and traffic on one link changes nothing on another") {
  const LinkOptions wild{
      .latency = aura::sim::exponential_latency(1ms, 5ms), .loss = 0.1, .duplication = 0.1, .reordering = 0.1};
  const auto run = [&](std::uint64_t seed, bool more_traffic) {
    Runtime world({.seed = seed});
    Network network(world, {.link = wild});
    Listener lb(world, network, b), lc(world, network, c);
    for (int i = 0; i < 50; ++i) {
      if (more_traffic) network.join(a).send(c, "noise").value();
      network.join(a).send(b, std::to_string(i)).value();
      world.run_for(1ms);
    }
    world.run();
    return std::pair(lb.bytes, lb.at);
  };
  REQUIRE(run(1, false) == run(1, false));
  REQUIRE(run(1, false) == run(1, true));
  REQUIRE(run(1, false) != run(2, false));
}

TEST_CASE("a cut changes the fate of nothing that is sent after it") {
  const auto run = [](bool with_cut) {
    Runtime world;
    Network network(world,
                    {.link = {.latency = aura::sim::exponential_latency(1ms, 5ms), .loss = 0.3, .reordering = 0.3}});
    Listener listener(world, network, b);
    for (int i = 0; i < 200; ++i) {
      if (with_cut && i == 50) network.cut(a, b);
      if (i == 100) network.heal();
      network.join(a).send(b, std::to_string(i)).value();
      if (i == 99) world.run();
    }
    listener.bytes.clear();
    world.run();
    return listener.bytes;
  };
  REQUIRE(run(true) == run(false));
}

TEST_CASE("latency distributions have the means and the bounds they are named for") {
  Duration least{};
  REQUIRE(mean_ms(aura::sim::constant_latency(3ms), least) == Approx(3.0));
  REQUIRE(mean_ms(aura::sim::uniform_latency(2ms, 6ms), least) == Approx(4.0).epsilon(0.01));
  REQUIRE(least >= 2ms);
  REQUIRE(mean_ms(aura::sim::exponential_latency(1ms, 4ms), least) == Approx(5.0).epsilon(0.02));
  REQUIRE(least >= 1ms);
  const double sigma = 0.5;  // the mean of a lognormal is median * exp(sigma^2 / 2)
  REQUIRE(mean_ms(aura::sim::lognormal_latency(10ms, sigma), least) ==
          Approx(10 * std::exp(sigma * sigma / 2)).epsilon(0.01));
}

TEST_CASE("a network may go before its runtime") {
  Runtime world;
  auto token = std::make_shared<int>(0);
  {
    Network network(world);
    const auto one = network.join(a), two = network.join(b);
    one.send(b, "on its way").value();
    two.async_receive([token](Result<Datagram>) { FAIL("ran"); });
  }
  REQUIRE(token.use_count() == 1);
  world.run();
}
