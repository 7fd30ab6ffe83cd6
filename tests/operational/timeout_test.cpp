// How long one attempt may take.
#include "operational/pipeline_world.hpp"

using namespace pipeline_world;

TEST_CASE("an attempt that is too slow fails at the limit and is told to stop") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {1h};
  aura::Pipeline pipeline(world, aura::Timeout{200ms});
  const auto answer = call(world, pipeline, std::ref(service));
  CHECK(answer.error().is(aura::core_errc::timed_out));
  CHECK(answer.error().error_class() == ErrorClass::timeout);
  CHECK(answer.at == 200ms);
  CHECK(service.cancelled == 1);
  CHECK(world.steady_now().time_since_epoch() == 200ms);
}

TEST_CASE("an attempt that is in time leaves no timer behind") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {10ms};
  aura::Pipeline pipeline(world, aura::Timeout{200ms});
  CHECK(call(world, pipeline, std::ref(service)).ok());
  CHECK(world.steady_now().time_since_epoch() == 10ms);
}

TEST_CASE("an attempt that ignores its cancellation still fails at the limit, and its late answer is ignored") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {10s};
  service.deaf = true;
  aura::Pipeline pipeline(world, aura::Timeout{200ms});
  const auto answer = call(world, pipeline, std::ref(service));
  CHECK(answer.at == 200ms);
  CHECK(answer.error().error_class() == ErrorClass::timeout);
  CHECK(service.in_flight == 0);
  CHECK(world.steady_now().time_since_epoch() == 10s);
}

TEST_CASE("an attempt that outlasts its timeout keeps its place in the bulkhead until it has really ended") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {10s};
  service.deaf = true;
  aura::Bulkhead bulkhead(world, {.concurrency_max = 1});
  aura::Pipeline pipeline(world, bulkhead, aura::Timeout{200ms});
  const auto first = begin_call(world, pipeline, std::ref(service));
  world.run_for(1s);
  CHECK(first->error().error_class() == ErrorClass::timeout);
  CHECK(bulkhead.in_use() == 1);
  world.run();
  CHECK(bulkhead.in_use() == 0);
}

TEST_CASE("the limit is of each attempt, not of the call") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {1h, 1h, 10ms};
  aura::RetryPolicy policy{.attempts_max = 3, .base = 0ms};
  aura::Pipeline pipeline(world, aura::Retry(policy), aura::Timeout{200ms});
  const auto answer = call(world, pipeline, std::ref(service));
  CHECK(answer.ok());
  CHECK(answer.at == 410ms);
}
