// What an asynchronous solve is asked: a problem that was found sound, a start and limits.
#pragma once

#include <aura/core/result.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/problem.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

namespace aura {

/// A problem as its host described it, for the verifier, and its model, for the solver. Immutable; shared between whoever
/// works on it.
class SoundProblem {
 public:
  /// Refuses what `PlacementModel::make` refuses.
  static Result<std::shared_ptr<const SoundProblem>> make(PlacementProblem problem) {
    auto model = PlacementModel::make(problem);
    if (!model) return model.error();
    return std::shared_ptr<const SoundProblem>(new SoundProblem(std::move(problem), std::move(*model)));
  }

  const PlacementProblem& problem() const noexcept { return problem_; }
  const PlacementModel& model() const noexcept { return model_; }

 private:
  SoundProblem(PlacementProblem problem, PlacementModel model)
      : problem_(std::move(problem)), model_(std::move(model)) {}

  PlacementProblem problem_;
  PlacementModel model_;
};

struct SolveRequest {
  std::shared_ptr<const SoundProblem> problem{};  ///< not null
  Placement incumbent{};  ///< what is there now, whole or not; empty where nothing is
  SteadyTime deadline = SteadyTime::max();
  double gap = 0;  ///< stop where the gap is at most this: 0.01 is 1%
  std::uint64_t work_max = std::numeric_limits<std::uint64_t>::max();
};

struct SolveSessionOptions {
  /// By how much the solver's deadline comes before the caller's, so that its own answer is there in time. At most a
  /// tenth of the time that is left when it begins.
  Duration margin = std::chrono::microseconds(500);
};

}  // namespace aura
