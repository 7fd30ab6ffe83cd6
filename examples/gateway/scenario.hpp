// What goes wrong, and when: --faults.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace gateway {

enum class Trouble : std::uint8_t {
  none,
  outage,  ///< two of the workers fail at once, for a quarter of the trace
  slow,    ///< two of the workers take five times as long
  grey,    ///< two of the workers fail a third of what they get
  flap,    ///< two of the workers fail in every other hundredth of the trace
  common,  ///< every worker fails, for a thirtieth of the trace
  ledger,  ///< quota and billing cannot be reached, for a thirtieth of the trace
};

/// Which of the usual faults there are, and what besides. Everything follows from the seed.
struct Scenario {
  std::string name = "1";  ///< as it was given
  Trouble trouble = Trouble::none;
  double scale = 1;  ///< of the usual faults

  /// A number for so many times the usual faults, or a trouble's name for that beside the usual ones.
  static aura::Result<Scenario> parse(std::string_view text) {
    constexpr std::pair<std::string_view, Trouble> known[] = {
        {"outage", Trouble::outage}, {"slow", Trouble::slow},     {"grey", Trouble::grey},
        {"flap", Trouble::flap},     {"common", Trouble::common}, {"ledger", Trouble::ledger}};
    for (const auto& [name, trouble] : known)
      if (text == name) return Scenario{std::string(text), trouble, 1};
    double scale = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), scale);
    if (error == std::errc{} && end == text.data() + text.size() && scale >= 0 && scale <= 100)
      return Scenario{fmt::format("{}", scale), Trouble::none, scale};
    return aura::Error{
        "gateway", 2, aura::ErrorClass::permanent,
        fmt::format("--faults takes a number from 0 to 100, or outage, slow, grey, flap, common or ledger, "
                    "not \"{}\"",
                    text)};
  }

  /// Of what the worker is asked at `at`, a share of the trace.
  double error_share(std::uint64_t seed, std::uint32_t worker, double at) const {
    if (trouble == Trouble::common) return within(at, 0.4, 0.4333) ? 1 : 0;
    if (!ill(seed, worker) || !within(at, 0.25, 0.5)) return 0;
    if (trouble == Trouble::outage) return 1;
    if (trouble == Trouble::grey) return 0.33;
    if (trouble == Trouble::flap) return static_cast<int>(at * 100) % 2 == 0 ? 1 : 0;
    return 0;
  }
  double slowdown(std::uint64_t seed, std::uint32_t worker, double at) const {
    return trouble == Trouble::slow && ill(seed, worker) && within(at, 0.25, 0.5) ? 5 : 1;
  }
  bool ledger_is_down(double at) const { return trouble == Trouble::ledger && within(at, 0.4, 0.4333); }

 private:
  static bool within(double at, double from, double to) { return at >= from && at < to; }
  static bool ill(std::uint64_t seed, std::uint32_t worker) {
    return worker % 8 == seed % 8 || worker % 8 == (seed + 3) % 8;
  }
};

}  // namespace gateway
