// The trace reader of the gateway example.
#include "../../examples/gateway/trace.hpp"

#include "support/catch.hpp"
#include "support/paths.hpp"

#include <sstream>
#include <string>

namespace {

const std::string header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

aura::Result<gateway::Trace> parse(const std::string& text, std::size_t rows_max = 0) {
  std::istringstream in(text);
  return gateway::parse_trace(in, "t.csv", rows_max);
}

std::string fault_of(const std::string& text) {
  const auto trace = parse(text);
  return trace ? "none" : std::string(trace.error().message());
}

}  // namespace

TEST_CASE("a trace gives its requests in order, to the fraction of a second") {
  const auto trace = parse(header + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50,396,109\n");
  REQUIRE(trace.has_value());
  REQUIRE(trace->arrivals.size() == 2);
  CHECK(trace->arrivals[0].row == 1);
  CHECK(trace->arrivals[0].at.time_since_epoch().count() == 1'700'158'546'680'590'000);
  CHECK(trace->arrivals[0].context_tokens == 374);
  CHECK(trace->arrivals[1].generated_tokens == 109);
  CHECK(gateway::clock_text(trace->arrivals[1].at) == "18:15:50");
}

TEST_CASE("line ends of either system, and none at the end of the file, are fine") {
  CHECK(parse("TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46,374,44\r\n")->arrivals.size() == 1);
  CHECK(parse(header + "2023-11-16 18:15:46,374,44")->arrivals.size() == 1);
}

TEST_CASE("a bad line is refused with its number") {
  const std::string good = "2023-11-16 18:15:46.6805900,374,44\n";
  const std::string bad[] = {
      "2023-11-16 18:15:46.6805900,374\n",
      "2023-11-16 18:15:46.6805900,374,44,1\n",
      "2023-11-16 18:15:46.6805900,-374,44\n",
      "2023-11-16 18:15:46.6805900,374,4x\n",
      "2023-11-16 18:15:46.6805900,374,99999999999\n",
      "2023-11-16 18:15:46.6805900,,44\n",
      "2023-02-30 18:15:46.6805900,374,44\n",
      "2023-11-16 24:15:46.6805900,374,44\n",
      "2023-11-16 18:15:46.,374,44\n",
      "2023-11-16 18:15:46.1234567890,374,44\n",
      "2023-11-16T18:15:46,374,44\n",
      "-023-11-16 18:15:46,374,44\n",
      "\n2023-11-16 18:15:47,374,44\n",
      "garbage\n",
      "2023-11-16 18:15:45,374,44\n",  // before the line above
  };
  for (const std::string& line : bad) {
    INFO(line);
    CHECK(fault_of(header + good + line).rfind("t.csv line 3: ", 0) == 0);
  }
}

TEST_CASE("a file that is no trace is refused") {
  CHECK(fault_of("") == "t.csv line 1: there is no request in it");
  CHECK(fault_of(header) == "t.csv line 2: there is no request in it");
  CHECK(fault_of("a,b,c\n").rfind("t.csv line 1: the header", 0) == 0);
  CHECK(fault_of(std::string(1'000'000, '\0')).rfind("t.csv line 1: the header", 0) == 0);
  CHECK(!gateway::read_trace("no/such/file.csv"));
}

TEST_CASE("only as many rows are read as are asked for") {
  CHECK(parse(header + "2023-11-16 18:15:46,374,44\ngarbage\n", 1)->arrivals.size() == 1);
}

TEST_CASE("the bundled sample is a trace") {
  const auto trace = gateway::read_trace(aura::test::source_path("examples/gateway/sample.csv"));
  REQUIRE(trace.has_value());
  CHECK(trace->arrivals.size() == 2000);
}
