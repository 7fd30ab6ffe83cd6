// What round robin would have made of the same requests: the rival of the scheduler, in the table at the end.
#pragma once

#include "worker_shape.hpp"

#include <aura/core/time.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>

namespace gateway {

/// The same workers, each with a queue that it serves in turn. Asked in the order of time. It is told the same requests at
/// the same moments, those included that fail, and the same slowness of a worker.
class RoundRobin {
 public:
  /// How long the request takes, its wait included. `slower(worker)`: by which factor that one is slower now;
  /// `passes_over(worker)`: it is not to be asked now.
  aura::Duration take(const Request& request, aura::SteadyTime now,
                      const std::function<double(std::uint32_t)>& slower,
                      const std::function<bool(std::uint32_t)>& passes_over) {
    for (std::uint32_t passed = 0; passed < WorkerShape::workers && passes_over(turn_); ++passed) next();
    const std::uint32_t at = turn_;
    next();
    Worker& worker = workers_[at];
    const double memory =
        std::min(WorkerShape::memory_of(request), static_cast<double>(WorkerShape::memory_tokens[at]));
    aura::SteadyTime start = std::max(now, worker.last_start);
    worker.free_until(start);
    while (worker.running.size() >= WorkerShape::slots || worker.memory + memory > WorkerShape::memory_tokens[at]) {
      start = std::max(start, worker.running.begin()->first);
      worker.free_until(start);
    }
    const auto span = static_cast<double>(WorkerShape::span(request, at, worker.running.size()).count()) * slower(at);
    const aura::SteadyTime end = start + aura::Duration(static_cast<aura::Duration::rep>(span));
    worker.running.emplace(end, memory);
    worker.memory += memory;
    worker.last_start = start;
    return end - now;
  }

 private:
  struct Worker {
    std::multimap<aura::SteadyTime, double> running;  ///< memory by when it comes free
    double memory = 0;
    aura::SteadyTime last_start{};

    void free_until(aura::SteadyTime now) {
      while (!running.empty() && running.begin()->first <= now) {
        memory -= running.begin()->second;
        running.erase(running.begin());
      }
    }
  };
  void next() { turn_ = (turn_ + 1) % WorkerShape::workers; }

  std::array<Worker, WorkerShape::workers> workers_;
  std::uint32_t turn_ = 0;
};

}  // namespace gateway
