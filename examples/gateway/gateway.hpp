// The gateway itself: takes in the requests when they arrive, and waits until every one has come to its end.
//
// It knows its world only as an aura::AnyRuntime, so that one and the same code runs in virtual time and on threads.
#pragma once

#include "audit.hpp"
#include "facts.hpp"
#include "guards.hpp"
#include "intake.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "saga.hpp"
#include "state.hpp"
#include "trace.hpp"

#include <aura/core/runtime.hpp>
#include <aura/durable/saga_command.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace gateway {

using Journal = aura::sqlite::SqliteJournal;
using Runner = aura::SagaRunner<Journal, MeterObserver>;

/// One start of the program.
struct Session {
  const Options& options;
  const Trace& trace;
  const StateDirectory& state;
  Ledger& ledger;
};

/// Where the trace's clock stands: it began at `begin` when the runtime's stood at `since`.
struct TraceClock {
  aura::AnyRuntime world;
  aura::WallTime begin;
  aura::SteadyTime since;
  double speed;

  aura::WallTime now() const { return begin + scaled(world.steady_now() - since, speed); }
  aura::SteadyTime when(aura::WallTime at) const { return since + scaled(at - begin, 1 / speed); }

  static aura::Duration scaled(aura::Duration span, double by) {
    return aura::Duration(static_cast<aura::Duration::rep>(static_cast<double>(span.count()) * by));
  }
};

/// From the first arrival to the last.
struct TraceSpan {
  aura::WallTime first;
  aura::Duration length;

  double share(aura::WallTime at) const {
    return static_cast<double>((at - first).count()) / static_cast<double>(std::max<std::int64_t>(length.count(), 1));
  }
};

/// When a request arrives: as in the trace, or as much faster as --load says.
inline aura::WallTime arrival_time(const Session& session, const Arrival& arrival) {
  const aura::WallTime first = session.trace.arrivals.front().at;
  return first + TraceClock::scaled(arrival.at - first, 1 / session.options.load);
}

inline TraceSpan span_of(const Session& session) {
  const aura::WallTime first = session.trace.arrivals.front().at;
  return {first, arrival_time(session, session.trace.arrivals.back()) - first};
}

/// A tenant's quota is what it will ask for and half as much again; one tenant in twenty has a tenth too little.
inline aura::Result<void> open_accounts(const Session& session) {
  std::vector<std::int64_t> demand(tenants, 0);
  for (const Arrival& arrival : session.trace.arrivals) {
    const Request request = request_of(arrival);
    for (std::uint32_t i = 0; i < tenants; ++i)
      if (request.tenant == tenant_name(i)) demand[i] += tokens_used(request);
  }
  std::vector<std::pair<std::string, std::int64_t>> accounts;
  for (std::uint32_t i = 0; i < tenants; ++i)
    accounts.emplace_back(tenant_name(i), i == 13 ? demand[i] * 9 / 10 : demand[i] * 3 / 2 + 100'000);
  return session.ledger.open_accounts(accounts);
}

namespace detail {

inline std::size_t open_now(const Meter& meter, std::size_t resumed) {
  return resumed + meter.started - std::min<std::uint64_t>(meter.ended, resumed + meter.started);
}

/// A journal that cannot be written for long is no reason to go on waiting: nothing is lost, so stop and say so.
inline bool in_trouble(const Meter& meter) { return meter.commits_delayed > 1000 || meter.lost > 0; }

/// Hands every request in at its time, without waiting for any.
template <class Intake>
boost::asio::awaitable<void> take_in(const Session& session, Intake& intake, const TraceClock& clock,
                                     const Facts& before, std::size_t resumed, const Meter& meter,
                                     Progress& progress) {
  std::unordered_set<std::uint32_t> started;
  for (const RunFacts& run : before.runs) started.insert(run.row);
  std::size_t arrived = 0;
  for (const Arrival& arrival : session.trace.arrivals) {
    ++arrived;
    if (started.contains(arrival.row)) continue;
    const aura::SteadyTime when = clock.when(arrival_time(session, arrival));
    if (when > clock.world.steady_now()) co_await clock.world.async_wait_until(when, boost::asio::use_awaitable);
    co_await intake.take(request_of(arrival));
    progress.show(clock.now(), arrived, open_now(meter, resumed));
    if (in_trouble(meter)) break;
  }
}

/// Until nothing moves any more. A stuck run waits for its operator, perhaps for days: it is not waited for, but a
/// command that an operator has left is carried out.
inline boost::asio::awaitable<void> see_out(const Session& session, Journal& journal, const TraceClock& clock,
                                            std::size_t resumed, const Meter& meter, Progress& progress) {
  const aura::StreamQuery sagas{.kind = "saga", .open = true};
  const aura::StreamQuery commands{.kind = std::string(aura::saga_command_kind), .open = true};
  for (int idle = 0; idle < 10;) {  // a command for a run that nobody can resolve is not waited for for ever
    const bool all_begun = meter.starting == 0;  // before the journal is asked, which knows only of those
    const std::vector<aura::StreamHead> open = co_await find_all(journal, sagas);
    const std::vector<aura::StreamHead> asked = co_await find_all(journal, commands);
    const bool moving = std::any_of(open.begin(), open.end(), [](const aura::StreamHead& run) {
      return run.state != "stuck" && run.state != "held";
    });
    if (all_begun && !moving && asked.empty()) break;
    idle = moving || !all_begun ? 0 : idle + 1;
    co_await clock.world.async_wait_for(TraceClock::scaled(std::chrono::seconds(1), 1 / clock.speed),
                                        boost::asio::use_awaitable);
    progress.show(clock.now(), session.trace.arrivals.size(), open_now(meter, resumed));
    if (in_trouble(meter)) break;
  }
}

inline ClassEffort class_effort(const char* name, const aura::SignalClassStats& stats) {
  return {name, stats.handled, stats.missed, stats.refused_in_all() + stats.dropped_in_all(), stats.wait_p99};
}
inline PromiseEffort promise_effort(RequestClass which, const SlaCounts& counts) {
  return {class_names[static_cast<std::size_t>(which)],
          counts.answered,
          counts.late,
          counts.late_by_turns,
          counts.penalty,
          counts.penalty_by_turns};
}
inline GuardEffort guard_effort(const char* name, const GuardCounts& counts) {
  return {name, counts.rejected, counts.openings};
}

/// From recovery to the end of the last run.
inline boost::asio::awaitable<Effort> carry(const Session& session, aura::AnyRuntime world, Journal& journal,
                                            Facts before) {
  using namespace std::chrono_literals;
  using boost::asio::use_awaitable;
  const auto begun = std::chrono::steady_clock::now();
  const double speed = session.options.real_time ? session.options.speed : 1;
  const std::uint64_t ledger_syncs = session.ledger.syncs();

  Meter meter;
  Guards guards(world, speed);
  const TraceSpan span = span_of(session);
  std::function<double()> trace_share;
  const auto slowdown = [&](std::uint32_t worker) {
    return session.options.faults.slowdown(session.options.seed, worker, trace_share());
  };
  Workers workers(world, session.options.solver,
                  {[&guards](std::uint32_t worker, aura::SteadyTime now) { return guards.closed_for(worker, now); },
                   slowdown, speed});
  Services services{.ledger = session.ledger,
                    .guards = guards,
                    .workers = workers,
                    .faults = {.seed = session.options.seed, .scale = session.options.faults.scale},
                    .scenario = session.options.faults,
                    .trace_share = [&trace_share] { return trace_share(); },
                    .speed = speed};
  const auto saga = make_saga(services);
  aura::SagaRunnerOptions options{.holder = aura::HolderId{"gateway"}};
  options.lease_ttl = session.options.real_time ? 30s : 600s;
  options.command_poll = services.span(1s);
  Runner runner(world, journal, options, MeterObserver{&meter});
  runner.add(saga).value();

  aura::Result<aura::SagaRecovery> recovered = co_await runner.recover(use_awaitable);
  const std::size_t resumed = recovered.value().resumed;
  if (!before.runs.empty())
    fmt::print("going on: {} requests had begun, {} of them are open and were resumed\n", before.runs.size(),
               resumed);
  if (before.runs.size() == session.trace.arrivals.size() && resumed == before.count("stuck"))
    fmt::print("all of it was carried before; --fresh begins anew\n");

  // In virtual time the clock was set from the journal already; in real time the trace goes on where it stopped.
  aura::WallTime clock_begin = std::max(before.latest, session.trace.arrivals.front().at);
  if (session.options.real_time) {
    std::unordered_set<std::uint32_t> started;
    for (const RunFacts& run : before.runs) started.insert(run.row);
    const auto next = std::find_if(session.trace.arrivals.begin(), session.trace.arrivals.end(),
                                   [&](const Arrival& arrival) { return !started.contains(arrival.row); });
    clock_begin = arrival_time(session, next == session.trace.arrivals.end() ? session.trace.arrivals.back() : *next);
  }
  const TraceClock clock{world, clock_begin, world.steady_now(), speed};
  trace_share = [&clock, span] { return span.share(clock.now()); };
  Progress progress(session.options.quiet, session.trace.arrivals.size());

  Intake<Runner, decltype(saga)> intake(world, runner, saga, meter, speed);
  co_await take_in(session, intake, clock, before, resumed, meter, progress);
  co_await see_out(session, journal, clock, resumed, meter, progress);
  aura::Result<void> drained = co_await runner.drain(10s, use_awaitable);
  if (in_trouble(meter)) throw std::runtime_error("stopped, and can be started again: " + meter.last_error());
  drained.value();

  Effort effort;
  effort.classes = {class_effort("interactive", intake.stats(RequestClass::interactive)),
                    class_effort("bulk", intake.stats(RequestClass::bulk))};
  effort.guards = {guard_effort("worker", guards.worker_counts), guard_effort("quota", guards.quota_counts),
                   guard_effort("billing", guards.billing_counts)};
  for (const RequestClass which : {RequestClass::interactive, RequestClass::bulk})
    effort.promises.push_back(promise_effort(which, workers.counts(which)));
  effort.solver = session.options.solver.name;
  effort.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  effort.requests = meter.ended;
  effort.steps = meter.attempts;
  effort.journal_commits = journal.stats().writes;
  effort.journal_syncs = journal.stats().transactions;
  effort.ledger_syncs = session.ledger.syncs() - ledger_syncs;
  co_return effort;
}

}  // namespace detail

/// The whole: carry, report, audit. Gives the exit status. `set_clock` is told the latest time that the journal knows.
inline boost::asio::awaitable<int> run(Session session, aura::AnyRuntime world,
                                       std::function<void(aura::WallTime)> set_clock) {
  std::unique_ptr<Journal> journal = Journal::open(world, {.path = session.state.journal()}).value();
  Facts facts = co_await read_facts(*journal);
  if (!facts.runs.empty()) set_clock(facts.latest);

  const bool carrying = !session.options.audit_only;
  Effort effort;
  if (carrying) {
    effort = co_await detail::carry(session, world, *journal, facts);
    facts = co_await read_facts(*journal);
  }
  const Audit audited = audit(session.ledger, session.trace, facts, carrying);
  const double speed = session.options.real_time ? session.options.speed : 1;
  print_outcomes(session.trace, facts, speed);
  if (carrying) {
    print_stages(effort);
    print_promises(effort);
    print_effort(effort);
  }
  print_audit(audited, carrying);
  if (carrying && facts.count("stuck") > 0)
    fmt::print("stuck ones: examples/run operator {} list --state stuck\n", session.state.journal());
  aura::Result<void> closed = co_await journal->async_close(boost::asio::use_awaitable);
  closed.value();
  co_return audited.ok() ? 0 : 1;
}

}  // namespace gateway
