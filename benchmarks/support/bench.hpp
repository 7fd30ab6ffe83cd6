// What a benchmark program needs: rows that a person can read, and the same rows as JSON.
//
//   int main(int argc, char** argv) {
//     aura::bench::Suite suite(argc, argv);
//     suite.compare({.name = "saga/durable_step/1", .unit = "us", .better = aura::bench::Better::lower},
//                   [] { return measure_step_us(); },
//                   "sqlite bare commit", [] { return measure_commit_us(); });
//     return suite.finish();
//   }
//
// A workload is called once for each run and returns its figure in the row's unit. Runs of the workload and of its
// baseline take turns, so that a noisy minute of the machine falls on both.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aura::bench {

enum class Better : std::uint8_t { lower, higher };

struct Row {
  std::string name;              ///< workload and size: "saga/durable_step/1"
  std::string unit;              ///< "us", "steps/s", "bytes"
  Better better = Better::lower; ///< which way is good
  std::size_t runs = 9;          ///< with --quick a third of them, at least 3
};

/// One figure of one run, in the row's unit.
using Workload = std::function<double()>;

/// The median of some figures; the mean of the middle two where their number is even.
inline double median_of(std::vector<double> figures) {
  std::sort(figures.begin(), figures.end());
  const std::size_t half = figures.size() / 2;
  return figures.size() % 2 == 1 ? figures[half] : (figures[half - 1] + figures[half]) / 2;
}

/// Seconds that a call takes, by the steady clock.
template <class F>
double seconds_of(F&& call) {
  const auto begin = std::chrono::steady_clock::now();
  std::forward<F>(call)();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Keeps the compiler from removing what computes `value`.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

/// The rows of one program. Understands --quick, --json FILE and a FILTER: rows whose name does not contain it are not
/// run. A program may name options of its own, such as "--instances", each with a value. Prints each row as it is done;
/// `finish()` writes the JSON and returns the exit status.
class Suite {
 public:
  Suite(int argc, char** argv, const std::vector<std::string_view>& own_options = {}) {
    for (int i = 1; i < argc; ++i) {
      const std::string_view argument = argv[i];
      if (argument == "--quick") {
        quick_ = true;
      } else if (argument == "--json" && i + 1 < argc) {
        json_file_ = argv[++i];
      } else if (std::find(own_options.begin(), own_options.end(), argument) != own_options.end() && i + 1 < argc) {
        values_[std::string(argument)] = argv[++i];
      } else if (argument.starts_with("-")) {
        std::string known;
        for (const std::string_view own : own_options) known += fmt::format(", {} VALUE", own);
        fmt::print(stderr, "{}: {}? Known are --quick, --json FILE{} and a FILTER\n", argv[0], argument, known);
        std::exit(2);
      } else {
        filter_ = argument;
      }
    }
  }

  /// True with --quick: run a smaller size where a row's name does not fix it.
  bool quick() const noexcept { return quick_; }

  /// What an option of the program's own was given; none where it was not.
  std::optional<std::string> value_of(std::string_view option) const {
    const auto found = values_.find(std::string(option));
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }

  /// True where a row of this name will be run: for costly preparations.
  bool wants(std::string_view name) const { return name.find(filter_) != std::string_view::npos; }

  /// A row beside the floor or rival that it is judged against.
  void compare(const Row& row, const Workload& workload, std::string baseline, const Workload& baseline_workload) {
    if (!wants(row.name)) return;
    std::vector<double> figures;
    std::vector<double> baseline_figures;
    for (std::size_t run = 0; run < runs_of(row); ++run) {
      figures.push_back(workload());
      baseline_figures.push_back(baseline_workload());
    }
    add(row, figures, std::pair{std::move(baseline), median_of(std::move(baseline_figures))});
  }

  /// A row that stands alone.
  void measure(const Row& row, const Workload& workload) {
    if (!wants(row.name)) return;
    std::vector<double> figures;
    for (std::size_t run = 0; run < runs_of(row); ++run) figures.push_back(workload());
    add(row, figures, std::nullopt);
  }

  /// A row from figures that were measured elsewhere. `baseline` is its name and its median.
  void add(const Row& row, const std::vector<double>& figures,
           std::optional<std::pair<std::string, double>> baseline) {
    if (!wants(row.name) || figures.empty()) return;
    const auto [min, max] = std::minmax_element(figures.begin(), figures.end());
    const double median = median_of(figures);
    const std::string_view better = row.better == Better::lower ? "lower" : "higher";
    const auto shown = [](double figure) { return fmt::format("{:.{}f}", figure, figure >= 1000 ? 0 : 3); };

    std::string line = fmt::format("{:<40} {:>12} {:<9} [{} .. {}] {} runs", row.name, shown(median), row.unit,
                                   shown(*min), shown(*max), figures.size());
    std::string beside = R"("baseline": null, "ratio": null)";
    if (baseline) {
      const double ratio = median / baseline->second;
      line += fmt::format("  {:.2f} x {} ({})", ratio, baseline->first, shown(baseline->second));
      beside = fmt::format(R"("baseline": {{"name": "{}", "median": {}}}, "ratio": {})", escaped(baseline->first),
                           number(baseline->second), number(ratio));
    }
    fmt::print("{}, {} is better\n", line, better);
    std::fflush(stdout);
    json_.push_back(fmt::format(
        R"({{"name": "{}", "unit": "{}", "median": {}, "min": {}, "max": {}, "runs": {}, {}, "better": "{}"}})",
        escaped(row.name), escaped(row.unit), number(median), number(*min), number(*max), figures.size(), beside,
        better));
  }

  /// Writes the JSON file where one was asked for: an array of rows. Returns what main returns.
  int finish() const {
    if (json_file_.empty()) return 0;
    std::FILE* file = std::fopen(json_file_.c_str(), "w");
    if (file == nullptr) {
      fmt::print(stderr, "cannot write {}\n", json_file_);
      return 1;
    }
    const char* separator = "[";
    for (const std::string& row : json_) {
      fmt::print(file, "{}\n  {}", separator, row);
      separator = ",";
    }
    std::fputs(json_.empty() ? "[]\n" : "\n]\n", file);
    return std::fclose(file) == 0 ? 0 : 1;
  }

 private:
  std::size_t runs_of(const Row& row) const { return quick_ ? std::max<std::size_t>(3, row.runs / 3) : row.runs; }

  static std::string number(double figure) { return std::isfinite(figure) ? fmt::format("{:.6g}", figure) : "null"; }

  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  }

  bool quick_ = false;
  std::string json_file_;
  std::string filter_;
  std::map<std::string, std::string> values_;
  std::vector<std::string> json_;
};

}  // namespace aura::bench
