// What the host chooses for a runner, and what a runner tells an observer.
#pragma once

#include <aura/core/ids.hpp>
#include <aura/core/journal.hpp>
#include <aura/core/outcome.hpp>
#include <aura/core/retry.hpp>
#include <aura/core/trace.hpp>
#include <aura/durable/dead_letter.hpp>

#include <cstddef>
#include <optional>
#include <string_view>

namespace aura {

struct SagaRetention {
  std::optional<Duration> kept_for{};         ///< since they ended; none: for ever
  std::optional<std::uint64_t> kept_max{};    ///< how many ended runs; none: all
  std::size_t batch = 1000;                   ///< removed at most in one commit
  Duration interval = std::chrono::minutes(1);
};

struct SagaRunnerOptions {
  /// Names this process among those that share the journal: stable over restarts. Starting under the same name again
  /// takes its runs over at once, so no two live processes may share it.
  HolderId holder{};
  Duration lease_ttl = std::chrono::seconds(30);  ///< after that long without a sign its runs can be taken over
  std::size_t open_runs_max = 1'000'000;  ///< a start beyond it is rejected with `too_many_runs`
  std::size_t recover_concurrency = 64;  ///< histories read at once
  std::size_t run_inbox_max = 256;  ///< requests that wait for one run; more are rejected
  Duration command_poll = std::chrono::seconds(1);  ///< how often operators' commands are looked for; zero: never
  DeadLetterLimits dead_letters{.queue = "saga"};
  std::optional<RetryBudget::Options> retry_budget{};
  SagaRetention retention{};
};

/// What one start may add.
struct SagaStart {
  Attributes attributes{};  ///< to find it by; "saga" is there already
  TraceContext trace{};
};

/// What `recover` found.
struct SagaRecovery {
  std::size_t resumed = 0;  ///< driven by this runner now
  std::size_t held = 0;  ///< open, but their definition is missing or does not fit, or their history is bad
  std::size_t elsewhere = 0;  ///< driven by another holder whose lease stands
};

// Events. Those of one run are told one at a time (RunHeld: during recovery). Views are valid during the call only.

struct RunStarted {
  std::string_view saga, run;
};
struct RunEnded {
  std::string_view saga, run;
  RunOutcome outcome;
  Duration age;
};
struct AttemptEnded {
  std::string_view saga, run, step;
  std::uint32_t attempt;
  bool compensating;
  const AttemptOutcome& outcome;
};
struct StepStuck {
  std::string_view saga, run, step;
  bool compensating;
  const Error& error;
};
/// The stuck step is in the run's history, but the dead letter queue was full.
struct DeadLetterRefused {
  std::string_view saga, run, step;
};
struct GuardRejected {
  std::string_view saga, run, step;
  const Error& error;
};
struct RunHeld {
  std::string_view run;
  const Error& error;
};
/// Somebody else drives the run, or its history was changed behind our back: nothing more is done for it here.
struct RunLost {
  std::string_view saga, run;
  const Error& error;
};
/// A commit failed; it will be tried again, and nothing is lost meanwhile.
struct CommitDelayed {
  std::string_view saga, run;
  const Error& error;
};

}  // namespace aura
