// How a run ended, as its starter is told.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/ids.hpp>
#include <aura/core/outcome.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aura {

/// `Saga::result<"step">(report)` reads a result with its type.
struct SagaReport {
  RunId run;
  RunOutcome outcome{};
  std::optional<Error> failure{};  ///< why it went back, where it did
  std::vector<std::pair<std::string, std::string>> results{};  ///< step and encoded result, of steps that were done

  bool completed() const noexcept { return outcome == RunOutcome::completed; }

  const std::string* result_of(std::string_view step) const noexcept {
    for (const auto& [name, bytes] : results)
      if (name == step) return &bytes;
    return nullptr;
  }
};

}  // namespace aura
