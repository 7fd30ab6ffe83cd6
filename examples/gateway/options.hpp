// The command line.
#pragma once

#include "scenario.hpp"
#include "solvers.hpp"

#include <aura/core/result.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace gateway {

inline constexpr const char* usage = R"(usage: gateway [OPTION]...

Carries the requests of a trace through durable sagas: reserve quota, place on a worker, infer, bill, deliver, settle.
Kill it whenever you like and start it again with the same options: it goes on where it was.

  --trace FILE    the trace; by default the sample that is bundled. FILE is a CSV of TIMESTAMP,ContextTokens,
                  GeneratedTokens, such as AzureLLMInferenceTrace_conv.csv of the Azure Public Dataset
  --requests N    only the first N requests
  --state DIR     where journal and ledger are kept (default: gateway-state)
  --fresh         forget what DIR holds and begin anew
  --seed N        of faults and virtual time (default: 1)
  --faults F      F times as many faults as usual; 0 for none (default: 1). Or a trouble beside the usual ones: outage,
                  slow, grey, flap (of two workers), common (of all workers), ledger (of quota and billing)
  --solver S      who looks for better placements while requests wait: native (default), glpk (where it was built in), greedy
  --load F        requests arrive F times as fast as in the trace (default: 1)
  --real-time     run on a thread pool in real time instead of in virtual time
  --speed F       with --real-time: so many seconds of the trace in one (default: 60)
  --audit-only    check journal and ledger as they are, and run nothing
  --quiet         no progress
  --help

exit status: 0 all well, 1 something failed or the audit found a fault, 2 bad options, a bad trace, or a DIR that was
begun with other options, 3 another gateway runs on DIR
)";

struct Options {
  std::string trace;
  std::size_t requests = 0;
  std::filesystem::path state = "gateway-state";
  std::uint64_t seed = 1;
  Scenario faults;
  SolverChoice solver;
  double load = 1, speed = 60;
  bool fresh = false, real_time = false, audit_only = false, quiet = false, help = false;
};

namespace detail {

inline aura::Error bad_option(std::string message) {
  return {"gateway", 2, aura::ErrorClass::permanent, std::move(message)};
}

template <class Number>
aura::Result<void> parse_number(std::string_view option, std::string_view text, Number least, Number most,
                                Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc{} && end == text.data() + text.size() && out >= least && out <= most) return {};
  return bad_option(fmt::format("{} takes a number from {} to {}, not \"{}\"", option, least, most, text));
}

inline aura::Result<void> parse_scenario(std::string_view text, Scenario& out) {
  aura::Result<Scenario> parsed = Scenario::parse(text);
  if (!parsed) return parsed.error();
  out = std::move(*parsed);
  return {};
}

inline aura::Result<void> parse_solver(std::string_view text, SolverChoice& out) {
  aura::Result<SolverChoice> parsed = SolverChoice::parse(text);
  if (!parsed) return parsed.error();
  out = std::move(*parsed);
  return {};
}

/// Options with a value.
inline aura::Result<void> set_option(Options& options, std::string_view name, std::string_view value) {
  if (name == "--trace") return options.trace = value, aura::Result<void>{};
  if (name == "--state") return options.state = value, aura::Result<void>{};
  if (name == "--requests") return parse_number<std::size_t>(name, value, 1, 999'999, options.requests);
  if (name == "--seed") return parse_number<std::uint64_t>(name, value, 0, UINT64_MAX, options.seed);
  if (name == "--faults") return parse_scenario(value, options.faults);
  if (name == "--solver") return parse_solver(value, options.solver);
  if (name == "--load") return parse_number(name, value, 0.01, 10'000.0, options.load);
  if (name == "--speed") return parse_number(name, value, 0.01, 10'000.0, options.speed);
  return bad_option(fmt::format("there is no option {}; --help lists them", name));
}

inline bool* switch_of(Options& options, std::string_view name) {
  if (name == "--fresh") return &options.fresh;
  if (name == "--real-time") return &options.real_time;
  if (name == "--audit-only") return &options.audit_only;
  if (name == "--quiet") return &options.quiet;
  if (name == "--help" || name == "-h") return &options.help;
  return nullptr;
}

}  // namespace detail

/// `--name value` and `--name=value`.
inline aura::Result<Options> parse_options(int argc, char** argv) {
  Options options;
  bool speed_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::string_view name = word.substr(0, word.find('='));
    if (bool* const on = detail::switch_of(options, word)) {
      *on = true;
      continue;
    }
    std::string_view value = name.size() < word.size() ? word.substr(name.size() + 1) : std::string_view();
    const bool needs_next = name.size() == word.size();
    if (needs_next && !name.starts_with("--"))
      return detail::bad_option(fmt::format("\"{}\" is no option; --help lists them", word));
    if (needs_next && i + 1 < argc) value = argv[i + 1];
    if (auto set = detail::set_option(options, name, value); !set) return set.error();
    if (value.empty()) return detail::bad_option(fmt::format("{} needs a value", name));
    if (needs_next) ++i;
    speed_given |= name == "--speed";
  }
  if (speed_given && !options.real_time) return detail::bad_option("--speed goes with --real-time");
  if (options.fresh && options.audit_only) return detail::bad_option("--fresh leaves nothing for --audit-only");
  return options;
}

}  // namespace gateway
