// What the saga engine and runner cost by themselves: steps on a MemoryJournal, on one core, and what an open run holds.
#include "support/bench.hpp"
#include "support/heap.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga_runner.hpp>

#include <boost/asio/append.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Number {
  std::uint64_t value = 0;
};
void to_json(nlohmann::json& json, const Number& number) { json = {{"value", number.value}}; }
void from_json(const nlohmann::json& json, Number& number) { json.at("value").get_to(number.value); }

/// Eight bytes and no more: what is left is the library's own cost.
struct Plain {
  std::uint64_t value = 0;
};

}  // namespace

template <>
struct aura::Codec<Plain> {
  static constexpr std::string_view encoding = "u64";
  static std::string encode(const Plain& plain) {
    return std::string(reinterpret_cast<const char*>(&plain.value), sizeof plain.value);
  }
  static aura::Result<Plain> decode(std::string_view bytes) {
    Plain plain;
    if (bytes.size() != sizeof plain.value)
      return Error{core_errc::bad_encoding, ErrorClass::permanent, "not eight bytes"};
    std::memcpy(&plain.value, bytes.data(), sizeof plain.value);
    return plain;
  }
};

namespace {

template <class T>
auto chain_of_sixteen() {
  const auto first = [](const T& input) { return T{input.value + 1}; };
  const auto next = [](const T&, const T& before) { return T{before.value + 1}; };
  using aura::step;
  return aura::Saga{"chain",
                    aura::version{1},
                    step<"s01">(first).pure(),
                    step<"s02">(next).pure().template after<"s01">(),
                    step<"s03">(next).pure().template after<"s02">(),
                    step<"s04">(next).pure().template after<"s03">(),
                    step<"s05">(next).pure().template after<"s04">(),
                    step<"s06">(next).pure().template after<"s05">(),
                    step<"s07">(next).pure().template after<"s06">(),
                    step<"s08">(next).pure().template after<"s07">(),
                    step<"s09">(next).pure().template after<"s08">(),
                    step<"s10">(next).pure().template after<"s09">(),
                    step<"s11">(next).pure().template after<"s10">(),
                    step<"s12">(next).pure().template after<"s11">(),
                    step<"s13">(next).pure().template after<"s12">(),
                    step<"s14">(next).pure().template after<"s13">(),
                    step<"s15">(next).pure().template after<"s14">(),
                    step<"s16">(next).pure().template after<"s15">()};
}

/// One thread, a host's own io_context, and a runner that has recovered. Lease and commands never come due in it.
template <class Journal>
struct World {
  boost::asio::io_context context{1};
  aura::AsioRuntime runtime{context.get_executor(), context.get_executor(), 1};
  Journal journal{context.get_executor()};
  aura::SagaRunner<Journal> runner{runtime,
                                   journal,
                                   {.holder = aura::HolderId("benchmark"),
                                    .lease_ttl = std::chrono::hours(1),
                                    .command_poll = aura::Duration::zero()}};

  template <class SagaType>
  explicit World(const SagaType& saga) {
    runner.add(saga).value();
    bool ready = false;
    runner.recover([&](aura::Result<aura::SagaRecovery> recovered) { ready = recovered.has_value(); });
    while (!ready) context.run_one();
  }
};

/// `runs` sagas of sixteen steps, 256 of them open at once.
template <class T>
double steps_per_second(std::size_t runs) {
  const auto saga = chain_of_sixteen<T>();
  World<aura::MemoryJournal> world(saga);
  std::size_t begun = 0, ended = 0;
  const std::function<void()> begin_next = [&] {
    if (begun == runs) return;
    const std::size_t number = begun++;
    world.runner.run(saga, aura::RunId("run-" + std::to_string(number)), T{number},
                     [&, number](aura::Result<aura::SagaReport> report) {
                       const auto last = saga.template result<"s16">(*report);
                       if (last->value != number + 16) throw std::logic_error("a step went missing");
                       if (++ended == runs) world.context.stop();
                       begin_next();
                     });
  };
  const double seconds = aura::bench::seconds_of([&] {
    for (std::size_t i = 0; i < 256; ++i) begin_next();
    world.context.run();
  });
  return 16.0 * static_cast<double>(runs) / seconds;
}

/// What the journal alone does with as many commits of one record.
double bare_commits_per_second(std::size_t commits) {
  boost::asio::io_context context{1};
  aura::MemoryJournal journal(context.get_executor());
  std::size_t done = 0;
  const std::function<void(std::size_t)> commit_next = [&](std::size_t stream) {
    aura::Append append{.stream = "saga/run-" + std::to_string(stream)};
    append.expected_version = done / 256;
    append.records.push_back({.type = "saga", .payload = std::string(24, 'x')});
    if (append.expected_version == 0) {
      append.birth = aura::StreamBirth{.kind = "saga"};
      append.index = aura::StreamIndex{.state = "running"};
    }
    aura::Batch batch;
    batch.appends.push_back(std::move(append));
    journal.commit(std::move(batch), [&](aura::Result<void> outcome) {
      outcome.value();
      if (++done < commits) commit_next(done % 256);
    });
  };
  return static_cast<double>(commits) / aura::bench::seconds_of([&] {
           commit_next(0);
           context.run();
         });
}

/// Accepts every commit and keeps nothing, so that what the heap holds is the runner's alone.
class ForgetfulJournal {
 public:
  explicit ForgetfulJournal(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  template <class Token>
  auto commit(aura::Batch, Token&& token) {
    return answer(aura::Result<void>{}, token);
  }
  template <class Token>
  auto read(const std::string&, std::uint64_t, std::size_t, Token&& token) {
    return answer(aura::Result<std::vector<aura::Record>>(std::vector<aura::Record>{}), token);
  }
  template <class Token>
  auto head(const std::string&, Token&& token) {
    return answer(aura::Result<std::optional<aura::StreamHead>>(std::nullopt), token);
  }
  template <class Token>
  auto find(const aura::StreamQuery&, Token&& token) {
    return answer(aura::Result<aura::StreamPage>(aura::StreamPage{}), token);
  }
  template <class Token>
  auto acquire_lease(const aura::HolderId& holder, aura::Duration ttl, aura::WallTime now, Token&& token) {
    return answer(aura::Result<aura::Lease>(aura::Lease{holder, aura::FencingToken{1}, now + ttl}), token);
  }
  template <class Token>
  auto renew_lease(const aura::Lease& lease, aura::Duration, aura::WallTime, Token&& token) {
    return answer(aura::Result<aura::Lease>(lease), token);
  }
  template <class Token>
  auto release_lease(const aura::Lease&, Token&& token) {
    return answer(aura::Result<void>{}, token);
  }
  template <class Token>
  auto claim(const aura::Lease&, std::vector<std::string>, aura::WallTime, Token&& token) {
    return answer(aura::Result<std::vector<aura::ClaimedStream>>(std::vector<aura::ClaimedStream>{}), token);
  }
  template <class Token>
  auto prune(const aura::Retention&, Token&& token) {
    return answer(aura::Result<std::size_t>(0u), token);
  }

 private:
  template <class T, class Token>
  auto answer(T result, Token& token) {
    return boost::asio::async_initiate<Token, void(T)>(
        [this](auto handler, T value) {
          boost::asio::post(executor_, boost::asio::append(std::move(handler), std::move(value)));
        },
        token, std::move(result));
  }
  boost::asio::any_io_executor executor_;
};

/// Runs of three steps that wait a day for their retry: what each holds of the heap. Its input is eight bytes.
double bytes_per_open_run(std::size_t runs) {
  const auto fails = [](const Plain&) -> aura::Result<Plain> {
    return aura::Error::fixed("benchmark", 1, aura::ErrorClass::transient, "not today");
  };
  const auto next = [](const Plain&, const Plain& before) { return before; };
  aura::RetryPolicy patient = aura::RetryPolicy::forever();
  patient.base = patient.cap = std::chrono::hours(24);
  const aura::Saga saga{"waits", aura::version{1}, aura::step<"call">(fails).pure().retry(patient),
                        aura::step<"use">(next).pure().after<"call">(),
                        aura::step<"end">(next).pure().after<"use">()};
  World<ForgetfulJournal> world(saga);
  const auto open_all = [&](std::size_t from, std::size_t to) {
    std::size_t answered = 0;
    for (std::size_t i = from; i < to; ++i)
      world.runner.start(saga, aura::RunId("run-" + std::to_string(i)), Plain{i},
                         [&](aura::Result<void> begun) { answered += begun.has_value(); });
    while (answered < to - from) world.context.run_one();
    while (world.context.poll() > 0) {
    }
  };
  open_all(0, 1000);  // pools have grown
  const std::size_t before = aura::bench::heap_bytes();
  for (std::size_t from = 1000; from < 1000 + runs; from += 1000) open_all(from, from + 1000);
  return static_cast<double>(aura::bench::heap_bytes() - before) / static_cast<double>(runs);
}

}  // namespace

int main(int argc, char** argv) {
  using aura::bench::Better;
  aura::bench::Suite suite(argc, argv);
  const std::size_t runs = suite.quick() ? 5'000 : 20'000;
  suite.compare(
      {.name = "saga/memory_step/trivial", .unit = "steps/s", .better = Better::higher},
      [&] { return steps_per_second<Plain>(runs); }, "bare MemoryJournal commits",
      [&] { return bare_commits_per_second(16 * runs); });
  suite.compare(
      {.name = "saga/memory_step/json", .unit = "steps/s", .better = Better::higher},
      [&] { return steps_per_second<Number>(runs); }, "bare MemoryJournal commits",
      [&] { return bare_commits_per_second(16 * runs); });
  suite.measure({.name = "saga/memory_per_open_run/100000", .unit = "bytes", .runs = 3},
                [] { return bytes_per_open_run(100'000); });
  return suite.finish();
}
