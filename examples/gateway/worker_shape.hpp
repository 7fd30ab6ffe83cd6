// What the workers are: how fast, how large, and how long a request takes on one of them.
#pragma once

#include "request.hpp"

#include <aura/core/time.hpp>
#include <aura/operational/placement/problem.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace gateway {

enum class RequestClass : std::uint8_t { interactive, bulk };
inline constexpr const char* class_names[] = {"interactive", "bulk"};

/// Somebody waits for a short prompt; a long one is a document on its way through a batch.
inline RequestClass class_of(const Request& request) {
  return request.context_tokens <= 1000 ? RequestClass::interactive : RequestClass::bulk;
}

/// What a tenant was promised of an answer, counted from when a worker is asked for; a penalty of 1 is a cent.
inline aura::Sla sla_of(RequestClass which) {
  using namespace std::chrono_literals;
  const bool interactive = which == RequestClass::interactive;
  return {.target = interactive ? 3s : 12s, .percentile = 0.95, .penalty_per_ms = interactive ? 0.01 : 0.001};
}

/// A worker as LLM servers behave: it reads the prompt at once (prefill), then writes token after token (decode), and
/// each further sequence in its batch makes every token a little slower. Its memory holds the tokens of all of them.
struct WorkerShape {
  static constexpr std::uint32_t workers = 8;
  static constexpr std::uint32_t slots = 16;  ///< sequences in one worker's batch
  static constexpr std::array<double, workers> speed{1.6, 1.6, 1.2, 1, 1, 1, 0.7, 0.5};
  static constexpr std::array<std::uint32_t, workers> memory_tokens{48'000, 24'000, 24'000, 24'000,
                                                                    24'000, 16'000, 16'000, 12'000};
  static constexpr double prefill_tokens_per_second = 8000;
  static constexpr std::chrono::microseconds decode_token{18'000};
  static constexpr double crowding = 0.02;  ///< slower by this part for each other sequence

  /// What it takes of a worker's memory: its prompt, and room for an answer of which nobody knows the length. What no
  /// worker could hold is cut short.
  static double memory_of(const Request& request) {
    return std::min(static_cast<double>(tokens_reserved(request)),
                    static_cast<double>(std::ranges::max(memory_tokens)));
  }

  static aura::Duration span(const Request& request, std::uint32_t worker, std::size_t others) {
    const double prefill = request.context_tokens / prefill_tokens_per_second;
    const double decode = request.generated_tokens * std::chrono::duration<double>(decode_token).count();
    const double seconds = (prefill + decode * (1 + crowding * static_cast<double>(others))) / speed[worker];
    return std::chrono::duration_cast<aura::Duration>(std::chrono::duration<double>(seconds));
  }
};

}  // namespace gateway
