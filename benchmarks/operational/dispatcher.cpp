// What a dispatch costs, beside a plain scan for the node with the least outstanding, and what it does to the slowest
// answers of a cluster whose nodes are uneven and slow down from time to time, beside the rules that others use.
//
// scheduler/dispatch_p99/<policy>: 16 nodes of speeds 1 to 4, each redrawing every 100 ms whether it is 3 times slower,
// Poisson arrivals at 0.85 of the average capacity, one dispatcher; a figure is the p99 of one seed, and every policy meets
// the same arrivals, sizes and slowdowns. Round robin and random have no bound there: the slow nodes get more than they
// serve, so theirs grows with the length of the run. The table is the mean over the seeds for other periods, slowdowns,
// slots and numbers of dispatchers.
#include "../../tests/support/dispatch_world.hpp"
#include "support/bench.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/dispatcher.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Dispatcher;
using aura::DispatchTicket;
using aura::Duration;
using aura::Random;
using aura::SteadyTime;

// Cost.

constexpr std::size_t tasks_a_node = 3;

/// Nanoseconds of a choice, where every node has work and each choice follows the answer to an earlier task: what choosing
/// adds to a round of `ended` and `began`.
double choose_ns(std::size_t nodes, std::size_t rounds) {
  Dispatcher dispatcher({.nodes_max = nodes});
  Random random(1);
  SteadyTime now{};
  for (std::size_t i = 0; i < nodes; ++i) {
    (void)dispatcher.join({.service = (1 + i % 4) * Duration(1ms)}, now);
  }
  std::vector<DispatchTicket> running(nodes * tasks_a_node);
  for (DispatchTicket& ticket : running) ticket = dispatcher.began(dispatcher.choose(now, random).value(), now);

  const auto turn = [&](auto choose) {
    for (std::size_t i = 0; i < rounds; ++i) {
      now += 10us;
      DispatchTicket& oldest = running[i % running.size()];
      dispatcher.ended(oldest, now);
      oldest = dispatcher.began(choose(oldest.node), now);
    }
  };
  const double both =
      aura::bench::seconds_of([&] { turn([&](std::uint32_t) { return dispatcher.choose(now, random).value(); }); });
  const double without = aura::bench::seconds_of([&] { turn([](std::uint32_t node) { return node; }); });
  return (both - without) * 1e9 / static_cast<double>(rounds);
}

/// The same for the least outstanding of all, by a scan of their counts.
double scan_ns(std::size_t nodes, std::size_t rounds) {
  std::vector<std::uint32_t> outstanding(nodes, tasks_a_node);
  std::size_t given_back = 0;
  return aura::bench::seconds_of([&] {
           for (std::size_t i = 0; i < rounds; ++i) {
             --outstanding[given_back++ % nodes];
             std::size_t best = 0;
             for (std::size_t k = 1; k < nodes; ++k) best = outstanding[k] < outstanding[best] ? k : best;
             ++outstanding[best];
             aura::bench::keep(best);
           }
         }) *
         1e9 / static_cast<double>(rounds);
}

// What it does to the slowest.

using dispatch::World;
using MakePolicy = std::unique_ptr<dispatch::Policy> (*)(const World&);

constexpr std::array<std::pair<const char*, MakePolicy>, 8> policies{{
    {"aura", dispatch::make<dispatch::Ours>},
    {"c3", dispatch::make<dispatch::C3>},
    {"c3_smoother", dispatch::make<dispatch::SmootherC3>},
    {"least_outstanding", dispatch::make<dispatch::LeastOutstanding>},
    {"peak_ewma", dispatch::make<dispatch::PeakEwma>},
    {"power_of_two", dispatch::make<dispatch::PowerOfTwo>},
    {"random", dispatch::make<dispatch::Uniform>},
    {"round_robin", dispatch::make<dispatch::RoundRobin>},
}};

std::vector<double> p99s(World world, MakePolicy make, std::uint64_t seeds) {
  std::vector<double> figures;
  for (world.seed = 1; world.seed <= seeds; ++world.seed) {
    figures.push_back(dispatch::percentile(dispatch::run(world, make), 0.99));
  }
  return figures;
}

double mean_of(const std::vector<double>& figures) {
  return std::accumulate(figures.begin(), figures.end(), 0.0) / static_cast<double>(figures.size());
}

void table(bool quick) {
  fmt::print("\np99 in ms, mean of the seeds\n{:>11} {:>5} {:>4} {:>9}", "dispatchers", "slots", "slow", "period ms");
  for (const auto& [name, make] : policies) fmt::print(" {:>17}", name);
  fmt::print("\n");
  for (const std::size_t clients : {std::size_t{1}, std::size_t{4}}) {
    for (const std::size_t slots : {std::size_t{1}, std::size_t{4}}) {
      for (const double slowdown : {2.0, 3.0, 5.0}) {
        for (const Duration period :
             {Duration(10ms), Duration(50ms), Duration(100ms), Duration(200ms), Duration(500ms)}) {
          if (quick && (period == Duration(50ms) || period == Duration(200ms) || slowdown == 2)) continue;
          const World world{.concurrency = slots,
                            .clients = clients,
                            .period = period,
                            .slowdown = slowdown,
                            .tasks = 20'000 * slots};
          fmt::print("{:>11} {:>5} {:>4} {:>9}", clients, slots, slowdown, period.count() / 1'000'000);
          for (const auto& [name, make] : policies)
            fmt::print(" {:>17.1f}", mean_of(p99s(world, make, quick ? 3 : 10)));
          fmt::print("\n");
          std::fflush(stdout);
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  using aura::bench::Better;
  aura::bench::Suite suite(argc, argv);

  const std::size_t rounds = suite.quick() ? 20'000 : 200'000;
  for (const std::size_t nodes : {8u, 16u, 64u, 256u, 1024u}) {
    suite.compare(
        {.name = fmt::format("scheduler/dispatch/{}", nodes), .unit = "ns", .better = Better::lower},
        [=] { return choose_ns(nodes, rounds); }, "scan for least outstanding",
        [=] { return scan_ns(nodes, rounds); });
  }

  const auto row = [](const char* policy) { return std::string("scheduler/dispatch_p99/") + policy; };
  if (std::none_of(policies.begin(), policies.end(),
                   [&](const auto& each) { return suite.wants(row(each.first)); })) {
    return suite.finish();
  }
  const std::uint64_t seeds = suite.quick() ? 5 : 20;
  const double round_robin = aura::bench::median_of(p99s({}, dispatch::make<dispatch::RoundRobin>, seeds));
  for (const auto& [name, make] : policies) {
    suite.add({.name = row(name), .unit = "ms", .better = Better::lower}, p99s({}, make, seeds),
              std::pair{std::string("round robin"), round_robin});
  }
  table(suite.quick());
  return suite.finish();
}
