// A dependency whose every call is written down, a guard that writes down what it hears, and calls through a pipeline.
#pragma once

#include "support/catch.hpp"

#include <aura/operational/pipeline.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace pipeline_world {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Duration;
using aura::Error;
using aura::ErrorClass;
using aura::Result;

inline Error failure(ErrorClass error_class = ErrorClass::transient) {
  return Error("test", 1, error_class, "the dependency failed");
}

/// The n-th call of it takes `latencies[n]` (the last one for all after), then gives n, or fails where `fails(n)`.
struct Service {
  explicit Service(aura::sim::Runtime& host) : world(host) {}

  aura::sim::Runtime& world;
  std::vector<Duration> latencies{Duration::zero()};
  std::function<bool(int)> fails = [](int) { return false; };
  bool deaf = false;  ///< ignores cancellation
  int calls = 0, in_flight = 0, in_flight_most = 0, cancelled = 0;
  std::vector<Duration> begun;

  asio::awaitable<Result<int>> operator()() {
    const int n = calls++;
    begun.push_back(world.steady_now().time_since_epoch());
    in_flight_most = std::max(in_flight_most, ++in_flight);
    struct Leave {
      Service& service;
      ~Leave() { --service.in_flight; }
    } leave{*this};
    const auto index = std::min(static_cast<std::size_t>(n), latencies.size() - 1);
    const Duration latency = latencies[index];
    if (deaf) {
      co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    }
    try {
      co_await world.async_wait_for(latency, asio::use_awaitable);
    } catch (...) {
      ++cancelled;
      throw;
    }
    if (fails(n)) co_return failure();
    co_return n;
  }
};

/// A guard that lets pass or rejects as told, and keeps count of its permits.
struct Recorder {
  std::optional<Error> refuse{};
  int out = 0, dropped = 0;
  std::vector<std::optional<ErrorClass>> heard;
  std::vector<Duration> latencies;

  class Permit {
   public:
    explicit Permit(Recorder& recorder) : recorder_(&recorder) { ++recorder.out; }
    Permit(Permit&& other) noexcept : recorder_(std::exchange(other.recorder_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(recorder_, other.recorder_);
      return *this;
    }
    ~Permit() {
      if (!recorder_) return;
      --recorder_->out;
      ++recorder_->dropped;
    }
    void record(const aura::AttemptOutcome& outcome) {
      --recorder_->out;
      recorder_->heard.push_back(outcome.failure);
      recorder_->latencies.push_back(outcome.latency);
      recorder_ = nullptr;
    }

   private:
    Recorder* recorder_;
  };

  Result<Permit> try_acquire(aura::SteadyTime) {
    if (refuse) return *refuse;
    return Permit(*this);
  }
};

/// The answer of one call, and when it came.
template <class T>
struct Answer {
  std::optional<Result<T>> result;
  Duration at{};
  int times = 0;

  bool ok() const { return result && result->has_value(); }
  Error error() const { return result->error(); }
};

template <class Pipeline, class F>
auto begin_call(aura::sim::Runtime& world, Pipeline& pipeline, F&& act) {
  using T = aura::detail::action_value_t<F>;
  auto answer = std::make_shared<Answer<T>>();
  pipeline.call(std::forward<F>(act), [&world, answer](Result<T> result) {
    ++answer->times;
    answer->at = world.steady_now().time_since_epoch();
    answer->result.emplace(std::move(result));
  });
  REQUIRE(answer->times == 0);
  return answer;
}

/// Runs the world until nothing is left to do.
template <class Pipeline, class F>
auto call(aura::sim::Runtime& world, Pipeline& pipeline, F&& act) {
  auto answer = begin_call(world, pipeline, std::forward<F>(act));
  world.run();
  REQUIRE(answer->times == 1);
  return *answer;
}

}  // namespace pipeline_world
