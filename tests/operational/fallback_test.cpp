// What is answered where everything else has failed.
#include "operational/pipeline_world.hpp"

#include <stdexcept>

using namespace pipeline_world;

TEST_CASE("a fallback answers a failure with a value, a Result or a coroutine's") {
  aura::sim::Runtime world;
  const auto fails = []() -> Result<int> { return failure(); };
  {
    aura::Pipeline pipeline(world, aura::Fallback([](const Error&) { return 7; }));
    CHECK(**call(world, pipeline, fails).result == 7);
  }
  {
    aura::Pipeline pipeline(world, aura::Fallback([](const Error& error) -> Result<int> { return error; }));
    CHECK(call(world, pipeline, fails).error() == failure());
  }
  {
    aura::AnyRuntime any(world);
    aura::Pipeline pipeline(world, aura::Fallback([any](const Error&) -> asio::awaitable<int> {
                              co_await any.async_wait_for(1s, asio::use_awaitable);
                              co_return 7;
                            }));
    const auto answer = call(world, pipeline, fails);
    CHECK(**answer.result == 7);
    CHECK(answer.at == 1s);
  }
}

TEST_CASE("a fallback is told the last failure, after the retries, and is not asked after a success") {
  aura::sim::Runtime world;
  int asked = 0;
  aura::Pipeline pipeline(world, aura::Fallback([&asked](const Error& error) {
                            ++asked;
                            return static_cast<int>(error.code());
                          }),
                          aura::Retry({.attempts_max = 3}));
  int calls = 0;
  CHECK(**call(world, pipeline, [&]() -> Result<int> {
            return Error("test", 100 + ++calls, ErrorClass::transient, "no");
          }).result == 103);
  CHECK(asked == 1);
  CHECK(**call(world, pipeline, [] { return 1; }).result == 1);
  CHECK(asked == 1);
}

TEST_CASE("a fallback only answers errors that it is for, and what it throws is the call's failure") {
  aura::sim::Runtime world;
  aura::Pipeline pipeline(world,
                          aura::Fallback([](const Error&) -> int {
                            throw std::runtime_error("no cache");
                          }).when([](const Error& error) { return error.error_class() != ErrorClass::permanent; }));
  CHECK(call(world, pipeline, []() -> Result<int> { return failure(ErrorClass::permanent); }).error() ==
        failure(ErrorClass::permanent));
  CHECK(call(world, pipeline, []() -> Result<int> { return failure(); }).error().is(aura::core_errc::exception));
}

TEST_CASE("a cancelled call has no fallback") {
  aura::sim::Runtime world;
  aura::Pipeline pipeline(world, aura::Fallback([](const Error&) { return 7; }));
  CHECK(call(world, pipeline, []() -> Result<int> { return failure(ErrorClass::cancelled); }).result->has_error());
}

TEST_CASE("a fallback for an action without a value") {
  aura::sim::Runtime world;
  aura::Pipeline pipeline(world, aura::Fallback([](const Error&) {}));
  CHECK(call(world, pipeline, []() -> Result<void> { return failure(); }).ok());
}
