// What placements cost and how soon they are proven good, beside GLPK, CBC and a greedy one.
//
// placement [--quick] [--json FILE] [--instances DIR] [FILTER]: DIR (or the environment's AURA_INSTANCES) holds generalised
// assignment instances as text (agents, tasks, costs, uses, capacities), named c05100.txt and so on, and
// best_known.csv with lines `instance,agents,tasks,cost`. Without them instances of the same type and size are
// generated, and "best known" is a bound that was proven on them.
#include "support/bench.hpp"
#include "support/placement_instances.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/glpk/solver.hpp>
#include <aura/operational/placement/async_solve.hpp>
#include <aura/operational/placement/greedy_solver.hpp>
#include <aura/operational/placement/native_solver.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#ifdef AURA_BENCH_CBC
#include "support/cbc_solver.hpp"
#endif

namespace {

using namespace std::chrono_literals;
using aura::Duration;
using aura::SolveAnswer;
using aura::SolveStatus;
using aura::SteadyTime;
using aura::bench::Better;
using aura::bench::Gap;
using aura::bench::Row;
using aura::bench::Suite;
using Milliseconds = std::chrono::duration<double, std::milli>;

SteadyTime now() { return SteadyTime(std::chrono::steady_clock::now().time_since_epoch()); }
const auto clock_now = [] { return now(); };

constexpr std::uint64_t generator_seed = 20260401;

struct Instance {
  std::string name;
  char type = 'c';
  Gap gap{};
  double best_known = 0;
  std::shared_ptr<const aura::SoundProblem> sound{};
};

std::shared_ptr<const aura::SoundProblem> sound_of(const Gap& gap) {
  return aura::SoundProblem::make(aura::bench::problem_of(gap)).value();
}

// Where instances come from.

std::optional<std::string> instances_folder(const Suite& suite) {
  if (auto given = suite.value_of("--instances")) return given;
  if (const char* const given = std::getenv("AURA_INSTANCES")) return given;
  const auto beside = std::filesystem::path(__FILE__).parent_path() / "../../../shared/data/gap";
  std::error_code error;
  if (std::filesystem::is_directory(beside, error)) return beside.string();
  return std::nullopt;
}

std::map<std::string, double> best_known_in(const std::string& folder) {
  std::map<std::string, double> best;
  std::ifstream in(folder + "/best_known.csv");
  for (std::string line; std::getline(in, line);)
    if (const auto last = line.rfind(','); last != std::string::npos && std::isdigit(line[last + 1]) != 0)
      best[line.substr(0, line.find(','))] = std::stod(line.substr(last + 1));
  return best;
}

std::vector<Instance> all_instances(const Suite& suite) {
  const std::vector<std::pair<std::size_t, std::size_t>> sizes{{5, 100}, {10, 100}, {20, 200}, {20, 400}};
  const auto folder = instances_folder(suite);
  const auto best = folder ? best_known_in(*folder) : std::map<std::string, double>{};
  std::vector<Instance> instances;
  std::size_t generated = 0;
  for (const char type : {'c', 'd', 'e'})
    for (const auto& [agents, tasks] : sizes) {
      Instance instance{.name = fmt::format("{}{:02}{}", type, agents, tasks), .type = type};
      auto read = folder ? aura::bench::read_gap(*folder + "/" + instance.name + ".txt") : std::nullopt;
      if (read && best.contains(instance.name)) {
        instance.gap = std::move(*read);
        instance.best_known = best.at(instance.name);
      } else {
        ++generated;
        instance.gap = aura::bench::generate_gap(type, agents, tasks, generator_seed);
      }
      instance.sound = sound_of(instance.gap);
      instances.push_back(std::move(instance));
    }
  if (generated > 0)
    fmt::print(
        "# {} of {} instances were not found (--instances DIR): generated, seed {}, and judged by a proven bound\n",
        generated, instances.size(), generator_seed);
  return instances;
}

// One solve of a fresh solver, verified.

struct Measured {
  SolveAnswer answer;
  double ms = 0;
  double over_ms = 0;  ///< past the deadline
};

template <class Solver>
Measured run(Solver& solver, const aura::SoundProblem& sound, Duration budget, double gap) {
  const SteadyTime begin = now(), deadline = begin + budget;
  Measured measured{.answer =
                        solver.solve(sound.model(), {}, {.deadline = deadline, .clock = clock_now, .gap = gap})};
  const SteadyTime end = now();
  measured.ms = Milliseconds(end - begin).count();
  measured.over_ms = std::max(0.0, Milliseconds(end - deadline).count());
  if (measured.answer.has_placement())
    if (const auto verified = aura::PlacementVerifier(sound.problem()).verify(measured.answer); !verified) {
      fmt::print(stderr, "an answer does not hold: {}\n", aura::to_string(verified.error()));
      std::exit(1);
    }
  return measured;
}

template <class Solver>
Measured run_fresh(const aura::SoundProblem& sound, Duration budget, double gap = 0) {
  Solver solver;
  return run(solver, sound, budget, gap);
}

double percent_above(const Instance& instance, const SolveAnswer& answer) {
  if (!answer.has_placement()) return std::numeric_limits<double>::infinity();
  return 100 * (answer.cost / instance.best_known - 1);
}

// Milliseconds until a gap of 1% is proven; nothing where that took longer than the cap.

template <class Solver>
std::optional<double> ms_to_1pct(const aura::SoundProblem& sound, Duration cap) {
  const Measured measured = run_fresh<Solver>(sound, cap, 0.01);
  return measured.answer.gap() <= 0.01 ? std::optional(measured.ms) : std::nullopt;
}

/// The fastest of the two that others would take. CBC is given as much time as GLPK took: only the fastest counts.
std::pair<std::string, double> fastest_peer(const aura::SoundProblem& sound, Duration cap) {
  const auto glpk = ms_to_1pct<aura::glpk::GlpkSolver>(sound, cap);
#ifdef AURA_BENCH_CBC
  const Duration left = glpk ? std::chrono::duration_cast<Duration>(Milliseconds(*glpk)) : cap;
  if (const auto cbc = ms_to_1pct<aura::bench::CbcSolver>(sound, left); cbc && (!glpk || *cbc < *glpk))
    return {"CBC", *cbc};
  const std::string nobody = "GLPK and CBC";
#else
  const std::string nobody = "GLPK";
#endif
  if (glpk) return {"GLPK", *glpk};
  return {fmt::format("{} (not in {} s)", nobody, std::chrono::duration<double>(cap).count()),
          Milliseconds(cap).count()};
}

void measure_proven(Suite& suite, const std::string& name, const aura::SoundProblem& sound, std::size_t runs,
                    Duration cap) {
  const Row row{.name = "scheduler/proven_1pct/" + name, .unit = "ms"};
  if (!suite.wants(row.name)) return;
  std::vector<double> figures;
  for (std::size_t k = 0; k < runs; ++k) {
    const auto ms = ms_to_1pct<aura::NativeSolver>(sound, cap);
    figures.push_back(ms.value_or(Milliseconds(cap).count()));
    if (!ms) {
      fmt::print("# {}: {} did not prove it in {} s\n", row.name, "native",
                 std::chrono::duration<double>(cap).count());
      break;
    }
  }
  suite.add(row, figures, fastest_peer(sound, cap));
}

void measure_proven(Suite& suite, const std::vector<Instance>& instances) {
  const Duration cap = suite.quick() ? Duration(500ms) : Duration(60s);
  for (const Instance& instance : instances)
    measure_proven(suite, instance.name, *instance.sound, suite.quick() ? 3 : 9, cap);
  for (const char type : {'c', 'e'}) {
    const std::string name = fmt::format("80x1600/{}", type);
    if (!suite.wants("scheduler/proven_1pct/" + name)) continue;
    fmt::print("# 80x1600 of type {}: generated, seed {}\n", type, generator_seed);
    const auto sound = sound_of(aura::bench::generate_gap(type, 80, 1600, generator_seed));
    measure_proven(suite, name, *sound, 3, suite.quick() ? Duration(1s) : cap);
  }
}

// How much a placement costs above the best known one, after so many milliseconds.

double greedy_percent(const Instance& instance) {
  return percent_above(instance, run_fresh<aura::GreedySolver>(*instance.sound, 10s).answer);
}

void measure_above(Suite& suite, std::vector<Instance>& instances) {
  if (!suite.wants("scheduler/above_best_known/")) {
    bool wanted = false;
    for (const Instance& instance : instances)
      for (const int ms : {5, 50, 500})
        wanted |= suite.wants(fmt::format("scheduler/above_best_known/{}/{}", instance.name, ms));
    if (!wanted) return;
  }
  std::string table = fmt::format("# percent above best known after\n# {:<10}{:>9}{:>9}{:>9}{:>9}{:>12}\n",
                                  "instance", "5 ms", "50 ms", "500 ms", "greedy", "GLPK 500 ms");
  for (Instance& instance : instances) {
    if (instance.best_known == 0)
      instance.best_known =
          run_fresh<aura::NativeSolver>(*instance.sound, suite.quick() ? 200ms : 2s).answer.lower_bound;
    const double greedy = greedy_percent(instance);
    table += fmt::format("# {:<10}", instance.name);
    for (const int ms : {5, 50, 500}) {
      const Row row{.name = fmt::format("scheduler/above_best_known/{}/{}", instance.name, ms), .unit = "percent"};
      if (!suite.wants(row.name)) {
        table += fmt::format("{:>9}", "");
        continue;
      }
      std::vector<double> figures;
      for (int k = 0; k < (suite.quick() ? 1 : 3); ++k)
        figures.push_back(percent_above(instance, run_fresh<aura::NativeSolver>(*instance.sound, ms * 1ms).answer));
      table += fmt::format("{:>9.2f}", aura::bench::median_of(figures));
      suite.add(row, figures, std::isnan(greedy) ? std::nullopt : std::optional(std::pair("greedy", greedy)));
    }
    table += fmt::format("{:>9.2f}", greedy);
    if (!suite.quick())
      table += fmt::format("{:>12.2f}",
                           percent_above(instance, run_fresh<aura::glpk::GlpkSolver>(*instance.sound, 500ms).answer));
    table += "\n";
  }
  fmt::print("{}", table);
}

// A tick after a small change: until the gap is again what it was after 100 ms from cold.

/// One task in a hundred becomes another one of the same kind.
void change_some(Gap& gap, const Gap& others, aura::Random& random) {
  for (std::size_t k = 0; k < std::max<std::size_t>(1, gap.tasks / 100); ++k) {
    const std::size_t from = random.below(gap.tasks), to = random.below(gap.tasks);
    for (std::size_t i = 0; i < gap.agents; ++i) {
      gap.cost[i * gap.tasks + to] = others.cost[i * gap.tasks + from];
      gap.use[i * gap.tasks + to] = others.use[i * gap.tasks + from];
    }
  }
}

void measure_warm(Suite& suite, const std::string& size, std::size_t agents, std::size_t tasks) {
  const Row row{.name = "scheduler/warm_resolve/" + size, .unit = "ms"};
  if (!suite.wants(row.name)) return;
  const int changes = suite.quick() ? 5 : 40;
  const Duration cap = suite.quick() ? 200ms : 2s;
  std::vector<double> figures, cold_figures;
  std::string gaps;
  int late = 0;
  for (const char type : {'c', 'd', 'e'}) {
    Gap gap = aura::bench::generate_gap(type, agents, tasks, generator_seed);
    const Gap others = aura::bench::generate_gap(type, agents, tasks, generator_seed + 1);
    aura::Random random(generator_seed);
    aura::NativeSolver solver;
    SolveAnswer last = run(solver, *sound_of(gap), 100ms, 0).answer;
    const double former = last.gap();
    gaps += fmt::format(" {} {:.3f}%", type, 100 * former);
    for (int k = 0; k < changes; ++k) {
      change_some(gap, others, random);
      const auto sound = sound_of(gap);
      const SteadyTime begin = now();
      SolveAnswer answer =
          solver.solve(sound->model(), last.placement, {.deadline = begin + cap, .clock = clock_now, .gap = former});
      figures.push_back(Milliseconds(now() - begin).count());
      if (answer.gap() > former) ++late;
      if (answer.has_placement()) last = std::move(answer);
      if (k % 5 == 0) cold_figures.push_back(run_fresh<aura::NativeSolver>(*sound, cap, former).ms);
    }
  }
  fmt::print("# {}: the gap to get back to, after 100 ms from cold:{}; not reached in {} of {}\n", row.name, gaps,
             late, figures.size());
  suite.add(row, figures, std::pair("from cold", aura::bench::median_of(cold_figures)));
}

// How late an answer is at worst, over all instances.

void measure_overrun(Suite& suite, const std::vector<Instance>& instances) {
  const std::vector<Duration> budgets =
      suite.quick() ? std::vector<Duration>{5ms, 50ms} : std::vector<Duration>{1ms, 5ms, 20ms, 50ms, 200ms};
  const Row native{.name = "scheduler/overrun/native", .unit = "ms"};
  if (suite.wants(native.name)) {
    double worst = 0;
    for (const Instance& instance : instances)
      for (const Duration budget : budgets)
        worst = std::max(worst, run_fresh<aura::NativeSolver>(*instance.sound, budget).over_ms);
    suite.add(native, {worst}, std::nullopt);
  }
  const Row glpk{.name = "scheduler/overrun/glpk", .unit = "ms"};
  if (!suite.wants(glpk.name)) return;
  boost::asio::thread_pool handlers(1), blocking(1);
  aura::AsioRuntime runtime(handlers.get_executor(), blocking.get_executor());
  aura::SolveSession session(runtime, aura::glpk::GlpkSolver());
  double worst = 0, worst_drain = 0;
  for (const Instance& instance : instances)
    for (const Duration budget : budgets) {
      const SteadyTime deadline = now() + budget;
      const auto outcome =
          session.async_solve({.problem = instance.sound, .deadline = deadline}, boost::asio::use_future).get();
      worst = std::max(worst, Milliseconds(now() - deadline).count());
      while (session.is_busy()) std::this_thread::yield();
      worst_drain = std::max(worst_drain, Milliseconds(now() - deadline).count());
      aura::bench::keep(outcome);
    }
  fmt::print("# GLPK itself stopped at worst {:.1f} ms after the deadline, behind the session\n", worst_drain);
  suite.add(glpk, {worst}, std::nullopt);
}

}  // namespace

int main(int argc, char** argv) {
  Suite suite(argc, argv, {"--instances"});
#ifndef AURA_BENCH_CBC
  fmt::print("# SKIPPED: CBC is no baseline here, it was not found (Debian: coinor-libcbc-dev)\n");
#endif
  std::vector<Instance> instances = all_instances(suite);
  measure_above(suite, instances);
  measure_warm(suite, "10x100", 10, 100);
  measure_warm(suite, "20x400", 20, 400);
  measure_overrun(suite, instances);
  measure_proven(suite, instances);
  return suite.finish();
}
