// What the signal router does for those who wait: service figures in virtual time, from its core alone. One server,
// Poisson arrivals, open loop: 20% signals of 0.2 ms that are due 20 ms after arrival, 80% bulk of lognormal service time
// (mean 1.1 ms, sigma of its logarithm 1), due after 500 ms. Exact: each run is a seed, and the machine does not matter.
#include "support/bench.hpp"
#include "support/signal_service.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace bench = aura::bench;

constexpr std::size_t seeds = 5;

struct Figures {
  explicit Figures(const bench::ServiceResult& of)
      : signal_p99_ms(of.signals.quantile(0.99)),
        bulk_p99_ms(of.bulk.quantile(0.99)),
        signal_share(of.signals.share_on_time()),
        bulk_share(of.bulk.share_on_time()),
        all_share(of.all_on_time()) {}
  double signal_p99_ms, bulk_p99_ms, signal_share, bulk_share, all_share;
};
using Figure = double Figures::*;

struct Trial {
  Figures fifo, edf, routed;
};
using Policy = Figures Trial::*;

/// All seeds of a load and a sigma, run once however many rows are made of them.
class Trials {
 public:
  Trials(std::size_t seeds_of_each, std::size_t arrivals) : seeds_(seeds_of_each), arrivals_(arrivals) {}

  const std::vector<Trial>& of(double load, double sigma) {
    std::vector<Trial>& trials = trials_[{load, sigma}];
    for (std::uint64_t seed = trials.size() + 1; seed <= seeds_; ++seed) {
      const auto arrivals =
          bench::service_arrivals({.load = load, .sigma = sigma, .arrivals = arrivals_, .seed = seed});
      trials.push_back({Figures(bench::serve_fifo(arrivals)), Figures(bench::serve_edf(arrivals)),
                        Figures(bench::serve_routed(arrivals))});
    }
    return trials;
  }
  std::vector<double> figures(double load, double sigma, Policy policy, Figure figure) {
    std::vector<double> out;
    for (const Trial& trial : of(load, sigma)) out.push_back(trial.*policy.*figure);
    return out;
  }
  double median(double load, double sigma, Policy policy, Figure figure) {
    return bench::median_of(figures(load, sigma, policy, figure));
  }

 private:
  std::size_t seeds_, arrivals_;
  std::map<std::pair<double, double>, std::vector<Trial>> trials_;
};

void p99_rows(bench::Suite& suite, Trials& trials) {
  constexpr std::pair<std::string_view, Figure> figures[] = {{"signal", &Figures::signal_p99_ms},
                                                             {"bulk", &Figures::bulk_p99_ms}};
  for (const auto& [name, figure] : figures) {
    for (const double load : {0.5, 0.6, 0.7, 0.8, 0.9, 0.95}) {
      const std::string row = fmt::format("signal_router/p99_ms/{}/{}", name, load);
      if (!suite.wants(row)) continue;
      suite.add({.name = row, .unit = "ms", .better = bench::Better::lower},
                trials.figures(load, 1, &Trial::routed, figure),
                std::pair<std::string, double>("FIFO", trials.median(load, 1, &Trial::fifo, figure)));
    }
  }
}

void on_time_rows(bench::Suite& suite, Trials& trials) {
  constexpr std::pair<std::string_view, Figure> figures[] = {
      {"signal", &Figures::signal_share}, {"bulk", &Figures::bulk_share}, {"all", &Figures::all_share}};
  for (const auto& [name, figure] : figures) {
    const std::string row = fmt::format("signal_router/on_time/{}/1.2", name);
    if (!suite.wants(row)) continue;
    suite.add({.name = row, .unit = "share", .better = bench::Better::higher},
              trials.figures(1.2, 1, &Trial::routed, figure),
              std::pair<std::string, double>("plain EDF", trials.median(1.2, 1, &Trial::edf, figure)));
  }
}

/// A saving without its load and its service times means nothing: all of them, beside FIFO and plain EDF.
void table(Trials& trials) {
  fmt::print("\nmedians of the seeds; p99 in ms, what was refused or dropped counts as infinite; on time in %\n");
  fmt::print("{:>11} | {:>26} | {:>26} | {:>23} | {:>23}\n", "", "p99 of signals", "p99 of bulk", "signals on time",
             "all on time");
  fmt::print("{:>5} {:>5}", "sigma", "load");
  for (const int width : {8, 8, 7, 7}) fmt::print(" | {0:>{3}} {1:>{3}} {2:>{3}}", "FIFO", "EDF", "router", width);
  for (const double sigma : {0.25, 1.0, 1.5}) {
    for (const double load : {0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.2}) {
      const auto print_all = [&](int width, int digits, double scale, Figure figure) {
        fmt::print(" |");
        for (const Policy policy : {&Trial::fifo, &Trial::edf, &Trial::routed})
          fmt::print(" {:>{}.{}f}", scale * trials.median(load, sigma, policy, figure), width, digits);
      };
      fmt::print("\n{:>5} {:>5}", sigma, load);
      print_all(8, 1, 1, &Figures::signal_p99_ms);
      print_all(8, 1, 1, &Figures::bulk_p99_ms);
      print_all(7, 2, 100, &Figures::signal_share);
      print_all(7, 2, 100, &Figures::all_share);
    }
  }
  fmt::print("\n");
}

}  // namespace

int main(int argc, char** argv) {
  bench::Suite suite(argc, argv);
  Trials trials(suite.quick() ? 3 : seeds, suite.quick() ? 200'000 : 400'000);
  p99_rows(suite, trials);
  on_time_rows(suite, trials);
  if (suite.wants("signal_router/table")) table(trials);
  return suite.finish();
}
