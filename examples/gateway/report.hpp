// The table at the end.
#pragma once

#include "audit.hpp"
#include "facts.hpp"
#include "trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace gateway {

/// What the router did with the requests of one class.
struct ClassEffort {
  std::string name;
  std::uint64_t taken_in = 0, missed = 0, lost = 0;
  aura::Duration wait_p99{};
};

/// What the circuit breakers of one kind did.
struct GuardEffort {
  std::string name;
  std::uint64_t rejected = 0, openings = 0;
};

/// How late the answers of one class were, and what that costs; beside it, what round robin would have made of it.
struct PromiseEffort {
  std::string name;
  std::uint64_t answered = 0, late = 0, late_by_turns = 0;
  double penalty = 0, penalty_by_turns = 0;
};

/// What this process did, by its own clock.
struct Effort {
  std::vector<ClassEffort> classes;
  std::vector<GuardEffort> guards;
  std::vector<PromiseEffort> promises;
  std::string solver;
  double seconds = 0;
  std::uint64_t requests = 0, steps = 0;
  std::uint64_t journal_commits = 0, journal_syncs = 0, ledger_syncs = 0;
};

namespace detail {

/// 12,345
inline std::string grouped(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

inline std::string seconds_text(aura::Duration span) {
  return fmt::format("{:.2f} s", std::chrono::duration<double>(span).count());
}

/// The nearest rank; `sorted` is not empty.
inline aura::Duration quantile(const std::vector<aura::Duration>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(rank, sorted.size() - 1)];
}

inline void print_outcome(const char* state, const char* meaning, const Facts& facts, std::size_t requests,
                          double speed) {
  std::vector<aura::Duration> latencies;
  for (const RunFacts& run : facts.runs)
    if (run.state == state)
      latencies.push_back(aura::Duration(
          static_cast<aura::Duration::rep>(static_cast<double>((run.updated - run.created).count()) * speed)));
  std::sort(latencies.begin(), latencies.end());
  const double share = 100.0 * static_cast<double>(latencies.size()) / static_cast<double>(requests);
  fmt::print("{:12} {:>8} {:>6.2f} %", state, grouped(latencies.size()), share);
  const bool timed = !latencies.empty() && std::string_view(state) != "stuck";
  for (const double point : {0.5, 0.9, 0.99, 1.0})
    fmt::print(" {:>9}", timed ? seconds_text(quantile(latencies, point)) : "");
  fmt::print("   {}\n", meaning);
}

}  // namespace detail

/// Depends on the state alone: for one seed it is the same every time. `speed`: of the runtime's clock.
inline void print_outcomes(const Trace& trace, const Facts& facts, double speed) {
  const std::size_t requests = trace.arrivals.size();
  fmt::print("\n{:12} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}\n", "outcome", "requests", "share", "p50", "p90", "p99",
             "max");
  detail::print_outcome("completed", "answered, billed, settled", facts, requests, speed);
  detail::print_outcome("compensated", "failed, and everything was taken back", facts, requests, speed);
  detail::print_outcome("failed", "refused before anything was done", facts, requests, speed);
  detail::print_outcome("stuck", "waits for an operator", facts, requests, speed);
  const std::size_t others = requests - std::min(requests, facts.count("completed") + facts.count("compensated") +
                                                               facts.count("failed") + facts.count("stuck"));
  if (others > 0)
    fmt::print("{:12} {:>8} {:>6.2f} %\n", "unfinished", detail::grouped(others),
               100.0 * static_cast<double>(others) / static_cast<double>(requests));
  fmt::print("dead letters {:>8}", detail::grouped(facts.letters.size()));
  for (std::size_t i = 0; i < facts.letters.size() && i < 3; ++i)
    fmt::print("{} {}", i ? "," : "  ", facts.letters[i]);
  fmt::print("{}\n", facts.letters.size() > 3 ? ", ..." : "");
}

inline void print_effort(const Effort& effort) {
  const double seconds = std::max(effort.seconds, 1e-9);
  using detail::grouped;
  fmt::print("this process: {} requests and {} steps in {:.2f} s: {:.0f} requests/s, {:.0f} steps/s\n",
             grouped(effort.requests), grouped(effort.steps), effort.seconds,
             static_cast<double>(effort.requests) / seconds, static_cast<double>(effort.steps) / seconds);
  fmt::print("syncs: {} of the journal for {} commits, {} of the ledger\n", grouped(effort.journal_syncs),
             grouped(effort.journal_commits), grouped(effort.ledger_syncs));
}

/// Of this process alone: what another one before it saw, it took with it.
inline void print_stages(const Effort& effort) {
  fmt::print("\nby class     taken in   missed     lost  wait p99     by breaker   rejected openings\n");
  for (std::size_t i = 0; i < std::max(effort.classes.size(), effort.guards.size()); ++i) {
    std::string left;
    if (i < effort.classes.size()) {
      const ClassEffort& each = effort.classes[i];
      left =
          fmt::format("{:12} {:>8} {:>8} {:>8} {:>9}", each.name, detail::grouped(each.taken_in),
                      detail::grouped(each.missed), detail::grouped(each.lost), detail::seconds_text(each.wait_p99));
    }
    fmt::print("{:49}", left);
    if (i < effort.guards.size())
      fmt::print("     {:12} {:>8} {:>8}", effort.guards[i].name, detail::grouped(effort.guards[i].rejected),
                 detail::grouped(effort.guards[i].openings));
    fmt::print("\n");
  }
}

/// Likewise of this process alone. Penalties are those of the SLAs, in cents.
inline void print_promises(const Effort& effort) {
  fmt::print("\nby class     answered     late  penalty     round robin     late  penalty     (--solver {})\n",
             effort.solver);
  for (const PromiseEffort& each : effort.promises)
    fmt::print("{:12} {:>8} {:>8} {:>8.0f}     {:11} {:>8} {:>8.0f}\n", each.name, detail::grouped(each.answered),
               detail::grouped(each.late), each.penalty, "", detail::grouped(each.late_by_turns),
               each.penalty_by_turns);
}

inline void print_audit(const Audit& audit, bool at_the_end) {
  for (const std::string& fault : audit.faults) fmt::print("{}\n", fault);
  if (!audit.ok())
    return fmt::print("audit: FAILED: {} of {} rules are broken\n", audit.faults.size(), std::size(audit_rules));
  fmt::print("audit: ok: {} requests accounted for{}, nobody billed twice, no quota leaked; ${:.6f} billed{}\n",
             detail::grouped(audit.runs), at_the_end ? "" : " so far",
             static_cast<double>(audit.billed_nano_usd) / 1e9,
             audit.settled_by_hand == 0 ? "" : fmt::format(", {} resolved by hand", audit.settled_by_hand));
}

}  // namespace gateway
