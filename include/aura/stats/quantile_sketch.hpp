// Quantiles of positive values to a stated relative error, in fixed memory, where the old fades.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aura {

/// Codes of the domain "sketch".
enum class sketch_errc : std::int32_t {
  bad_options = 1,  ///< a range, an error, a half-life or a quantile that none can have (permanent)
  differs = 2,      ///< two sketches of other ranges, errors or half-lives do not add (permanent)
};
constexpr std::string_view error_domain(sketch_errc) noexcept { return "sketch"; }

struct QuantileSketchOptions {
  /// The range. What is below `least` counts as `least`, what is above `greatest` as `greatest`. Both above 0.
  double least = 1e3;
  double greatest = 1e12;
  double relative_error = 0.01;  ///< of a quantile, within the range: above 0, below 0.5
  /// After so many observations one counts half. From 1 to 1e6: a bucket is a float.
  double half_life = 5000;
  /// Quantiles in (0, 1) that are kept at hand: reading one costs a load, keeping one some 2 ns an observation.
  std::vector<double> kept{};

  friend bool operator==(const QuantileSketchOptions&, const QuantileSketchOptions&) = default;
};

/// The most buckets that a sketch has: range and relative error must fit. The defaults take 1,049.
inline constexpr std::size_t sketch_buckets_max = std::size_t{1} << 16;

namespace detail {

/// The binary logarithm to within 0.0015, plus 1023, for normal numbers above 0: the exponent, and a cubic of the
/// mantissa that is smooth from one octave to the next (the cubic interpolation of DDSketch's libraries). Some 4 ns
/// faster than std::log2, and the same on all platforms. d octave/d ln(value) is at least `least_slope`, at s = 0: so
/// it takes 1% more buckets than the logarithm would.
inline constexpr double cubic[] = {10.0 / 7, -3.0 / 5, 6.0 / 35};
inline constexpr double least_slope = cubic[0];

inline double octave_of(double value) noexcept {
  constexpr std::uint64_t mantissa = (std::uint64_t{1} << 52) - 1;
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const double s = std::bit_cast<double>((bits & mantissa) | std::bit_cast<std::uint64_t>(1.0)) - 1;
  return static_cast<double>(static_cast<std::int64_t>(bits >> 52)) + ((cubic[2] * s + cubic[1]) * s + cubic[0]) * s;
}

/// The inverse. Newton's iteration is exact to the last bits after four steps.
inline double value_of_octave(double octave) noexcept {
  const double exponent = std::floor(octave);
  const double wanted = octave - exponent;
  double s = wanted;
  for (int step = 0; step < 4; ++step) {
    const double off = ((cubic[2] * s + cubic[1]) * s + cubic[0]) * s - wanted;
    s -= off / ((3 * cubic[2] * s + 2 * cubic[1]) * s + cubic[0]);
  }
  return std::ldexp(1 + s, static_cast<int>(exponent) - 1023);
}

}  // namespace detail

/// Buckets that grow by the factor (1+e)/(1-e) or a little less, so that each stands for a value within the relative
/// error e of all in it: DDSketch (Masson, Rim, Lee, "DDSketch", VLDB 2019), here over a fixed range. The k-th
/// observation from the last weighs 2^(-k/half_life). No bucket is touched for that: later observations weigh more
/// instead, and every 30 half-lives all is divided (Cormode et al., "Forward decay", ICDE 2009).
///
/// 4 bytes a bucket. Observing is O(1) amortised, some 8 ns, and allocates nothing. Not shared between
/// threads: the owner serialises it.
class QuantileSketch {
 public:
  /// sketch_errc::bad_options. Allocates.
  static Result<QuantileSketch> make(QuantileSketchOptions options) {
    if (const char* wrong = what_is_wrong(options))
      return Error{sketch_errc::bad_options, ErrorClass::permanent, std::string("a quantile sketch ") + wrong};
    return QuantileSketch(std::move(options));
  }

  /// One value. NaN is passed over.
  void observe(double value) noexcept {
    if (!std::isnan(value)) observe_bucket(bucket_of(value));
  }

  /// A value that is known only to be more than `value`, as of a call that timed out. Its weight goes to the buckets
  /// above in proportion to what is there already (Efron 1967, redistribution to the right, done on arrival), where
  /// half an observation more is taken to stand at `greatest`. So it errs to the high side: where next to nothing was
  /// seen above the timeouts, as with one timeout for all or with one call in five given up, a high quantile stands at
  /// `greatest`, and that is all there is to know about it. O(buckets), about 1 µs. NaN is passed over.
  void observe_at_least(double value) noexcept {
    if (!std::isnan(value)) observe_above_bucket(bucket_of(value));
  }

  /// The smallest value with at least the share `q` of the weight at or below it (nearest rank), `q` held to [0, 1].
  /// Within the relative error while in the range; `least` in the lowest bucket, `greatest` in the highest. 0 where
  /// nothing was observed. O(buckets), about 1 µs.
  double quantile(double q) const noexcept { return total_ > 0 ? value_of(bucket_at(q)) : 0; }

  /// The i-th of `options().kept`, at the cost of a load.
  double kept(std::size_t i) const noexcept { return kept_[i].value; }

  /// The share of the weight in buckets above that of `value`; 0 where nothing was observed. O(buckets).
  double share_above(double value) const noexcept {
    return total_ > 0 ? std::clamp(mass_above(bucket_of(value)) / total_, 0.0, 1.0) : 0;
  }

  /// As many observations as there would be if each had counted fully; at most about 1.44 half-lives.
  double weight() const noexcept { return total_ / newest_; }

  /// As if `other` had been observed here at the same time. sketch_errc::differs where range, relative error or
  /// half-life do; nothing is changed then. The kept quantiles may differ. O(buckets).
  Result<void> merge(const QuantileSketch& other) {
    if (!adds_to(other))
      return Error{sketch_errc::differs, ErrorClass::permanent,
                   "two quantile sketches differ in range, relative error or half-life"};
    add(other, newest_ / other.newest_, 0);
    return {};
  }

  /// Adds what `other` knows, its values times `factor` (to the nearest bucket), as if it were `observations`: for a
  /// start from what is known of others. Nothing happens where `other` is empty, has another range or another relative
  /// error. O(buckets).
  void borrow(const QuantileSketch& other, double observations, double factor = 1) noexcept {
    if (!(other.total_ > 0) || !(observations > 0) || !(factor > 0) || !same_buckets(other)) return;
    add(other, observations * newest_ / other.total_, buckets_of_factor(factor));
  }

  /// What was observed so far counts for at most so many observations (above 0) from here on: where it is known to be
  /// out of date. O(1): those to come weigh more instead.
  void fade_to(double observations) noexcept {
    if (observations > 0 && weight() > observations) newest_ = total_ / std::max(observations, 1e-6);
  }

  /// For one who feeds several sketches of the same range: the logarithm is taken once. `bucket_of` holds to the range,
  /// `observe_bucket` must be given what is in it.
  std::size_t bucket_of(double value) const noexcept {
    if (!(value > options_.least)) return 0;
    if (value >= options_.greatest) return weights_.size() - 1;
    const double place = (detail::octave_of(value) - first_octave_) * per_octave_;
    const auto floor = static_cast<std::size_t>(place);
    return floor + (static_cast<double>(floor) < place ? 1 : 0);
  }
  void observe_bucket(std::size_t bucket) noexcept {
    age();
    weights_[bucket] += static_cast<float>(newest_);
    total_ += newest_;
    for (Kept& kept : kept_) {
      if (bucket > kept.bucket) kept.above += newest_;
      if (follow(kept)) kept.value = value_of(kept.bucket);
    }
  }
  void observe_above_bucket(std::size_t bucket) noexcept {
    age();
    const double above = mass_above(bucket);
    const double beyond = newest_ * beyond_weight;
    const double share = newest_ / (above + beyond);
    for (std::size_t i = bucket + 1; i < weights_.size(); ++i) weights_[i] *= static_cast<float>(1 + share);
    weights_.back() += static_cast<float>(beyond * share);
    settle();
  }
  /// The bucket that the quantile is in.
  std::size_t bucket_at(double q) const noexcept { return sought(1 - std::clamp(q, 0.0, 1.0)).bucket; }
  /// The factor by which values differ that are so many buckets apart, and how many those of a factor are.
  double factor_of_buckets(double buckets) const noexcept { return std::exp2(buckets / per_octave_); }
  std::ptrdiff_t buckets_of_factor(double factor) const noexcept {
    return static_cast<std::ptrdiff_t>(std::lround(std::clamp(std::log2(factor) * per_octave_, -1e6, 1e6)));
  }

  const QuantileSketchOptions& options() const noexcept { return options_; }
  std::size_t buckets() const noexcept { return weights_.size(); }
  /// What a bucket holds, in observations as `weight()` counts them.
  double bucket_weight(std::size_t bucket) const noexcept { return static_cast<double>(weights_[bucket]) / newest_; }

  /// A sketch with so much in each bucket (as `bucket_weight` tells it): for one who reads it from somewhere.
  /// sketch_errc::bad_options for options that none can have, core_errc::bad_encoding for weights.
  static Result<QuantileSketch> restore(QuantileSketchOptions options, std::span<const float> weights) {
    auto sketch = make(std::move(options));
    if (!sketch) return sketch;
    const auto bad = [](float weight) { return !(weight >= 0 && weight <= 1e9f); };
    if (weights.size() != sketch->buckets() || std::any_of(weights.begin(), weights.end(), bad))
      return Error{core_errc::bad_encoding, ErrorClass::permanent, "the weights of a quantile sketch are none"};
    sketch->weights_.assign(weights.begin(), weights.end());
    sketch->settle();
    return sketch;
  }

 private:
  /// A quantile that follows the observations: the bucket it is in, and the weight in those above.
  struct Kept {
    double tail = 0;  // 1 - q
    double above = 0;
    double value = 0;
    std::size_t bucket = 0;
  };
  static constexpr double newest_max = 0x1p30;
  static constexpr double beyond_weight = 0.5;  // of what is taken to stand at `greatest` when a weight is shared out

  explicit QuantileSketch(QuantileSketchOptions options)
      : options_(std::move(options)),
        growth_(std::exp2(1 / options_.half_life)),
        first_octave_(detail::octave_of(options_.least)),
        per_octave_(per_octave_for(options_)),
        weights_(buckets_for(options_)) {
    for (const double q : options_.kept) kept_.push_back({.tail = 1 - q});
  }

  /// So many that no bucket is wider than the factor (1+e)/(1-e), where `octave_of` is flattest.
  static double per_octave_for(const QuantileSketchOptions& options) noexcept {
    return 1 / (detail::least_slope * (std::log1p(options.relative_error) - std::log1p(-options.relative_error)));
  }
  /// With the two ends, of which the upper is for what is out of the range.
  static std::size_t buckets_for(const QuantileSketchOptions& options) noexcept {
    const double octaves = detail::octave_of(options.greatest) - detail::octave_of(options.least);
    return static_cast<std::size_t>(std::ceil(octaves * per_octave_for(options))) + 2;
  }
  static const char* what_is_wrong(const QuantileSketchOptions& options) noexcept {
    if (!(options.least >= 1e-300 && options.greatest > options.least && options.greatest <= 1e300))
      return "needs a range above 0, within 1e-300 to 1e300";
    if (!(options.relative_error >= 1e-4 && options.relative_error < 0.5)) return "needs an error from 0.0001 to 0.5";
    if (!(options.half_life >= 1 && options.half_life <= 1e6)) return "needs a half-life from 1 to 1e6";
    if (buckets_for(options) > sketch_buckets_max) return "would have more than 65536 buckets";
    for (const double q : options.kept)
      if (!(q > 0 && q < 1)) return "can keep quantiles in (0, 1) only";
    return nullptr;
  }

  bool same_buckets(const QuantileSketch& other) const noexcept {
    return options_.least == other.options_.least && options_.greatest == other.options_.greatest &&
           options_.relative_error == other.options_.relative_error;
  }
  bool adds_to(const QuantileSketch& other) const noexcept {
    return same_buckets(other) && options_.half_life == other.options_.half_life;
  }

  /// A value within the relative error of both ends of the bucket.
  double value_of(std::size_t bucket) const noexcept {
    if (bucket == 0) return options_.least;
    if (bucket + 1 == weights_.size()) return options_.greatest;
    const double upper = detail::value_of_octave(first_octave_ + static_cast<double>(bucket) / per_octave_);
    return upper * (1 - options_.relative_error);
  }

  double mass_above(std::size_t bucket) const noexcept {
    double mass = 0;
    for (std::size_t i = bucket + 1; i < weights_.size(); ++i) mass += static_cast<double>(weights_[i]);
    return mass;
  }

  void age() noexcept {
    newest_ *= growth_;
    if (newest_ > newest_max) renormalise();
  }

  /// What has faded below 2^-30 of an observation is dropped: it would only become denormal.
  void renormalise() noexcept {
    const auto scale = static_cast<float>(1 / newest_);
    for (float& weight : weights_) weight = weight * scale < 0x1p-30f ? 0.0f : weight * scale;
    newest_ = 1;
    settle();
  }

  void add(const QuantileSketch& other, double scale, std::ptrdiff_t shift) noexcept {
    const auto last = static_cast<std::ptrdiff_t>(weights_.size()) - 1;
    for (std::size_t i = 0; i < other.weights_.size(); ++i) {
      const auto to =
          static_cast<std::size_t>(std::clamp(static_cast<std::ptrdiff_t>(i) + shift, std::ptrdiff_t{0}, last));
      weights_[to] += static_cast<float>(static_cast<double>(other.weights_[i]) * scale);
    }
    settle();
  }

  /// Sums and kept quantiles, from the buckets.
  void settle() noexcept {
    total_ = 0;
    for (const float weight : weights_) total_ += static_cast<double>(weight);
    for (Kept& kept : kept_) {
      kept = sought(kept.tail);
      kept.value = total_ > 0 ? value_of(kept.bucket) : 0;
    }
  }

  Kept sought(double tail) const noexcept {
    Kept kept{.tail = tail, .bucket = weights_.size() - 1};
    follow(kept);
    return kept;
  }

  /// True where it moved. It moves by as much weight as came, so by a bucket now and then.
  bool follow(Kept& kept) const noexcept {
    const double allowed = kept.tail * total_;
    const std::size_t before = kept.bucket;
    while (kept.above > allowed && kept.bucket + 1 < weights_.size())
      kept.above -= static_cast<double>(weights_[++kept.bucket]);
    while (kept.bucket > 0 && kept.above + static_cast<double>(weights_[kept.bucket]) <= allowed)
      kept.above += static_cast<double>(weights_[kept.bucket--]);
    return kept.bucket != before || kept.value == 0;
  }

  QuantileSketchOptions options_;
  double growth_;  // of the weight, from one observation to the next
  double first_octave_;
  double per_octave_;
  double newest_ = 1;  // the weight of the last observation
  double total_ = 0;
  std::vector<float> weights_;
  std::vector<Kept> kept_;
};

namespace detail {

inline constexpr std::int64_t sketch_schema = 1;

/// Throws where it is none: a number like 1e300 must not be converted.
template <class Json>
std::int64_t whole_number(const Json& json) {
  if (!json.is_number_integer()) throw std::invalid_argument("a number is not whole");
  return json.template get<std::int64_t>();
}

}  // namespace detail

/// As JSON with a format version: the options, and [bucket, weight] for each bucket that holds something. `Json` is any
/// `nlohmann::basic_json`; a template, so that who only includes this pays for no JSON.
template <class Json>
Json export_sketch(const QuantileSketch& sketch) {
  const QuantileSketchOptions& options = sketch.options();
  Json out{{"format", "aura.quantile_sketch"},
           {"schema", detail::sketch_schema},
           {"least", options.least},
           {"greatest", options.greatest},
           {"half_life", options.half_life},
           {"relative_error", options.relative_error},
           {"kept", options.kept},
           {"weights", Json::array()}};
  for (std::size_t i = 0; i < sketch.buckets(); ++i) {
    if (!(sketch.bucket_weight(i) > 0)) continue;
    out["weights"].push_back(Json::array({i, static_cast<float>(sketch.bucket_weight(i))}));
  }
  return out;
}

/// core_errc::bad_encoding where the JSON is no sketch, core_errc::newer_format where a later version wrote it,
/// sketch_errc::bad_options where it has options that none can have. Takes memory for at most `sketch_buckets_max`.
template <class Json>
Result<QuantileSketch> import_sketch(const Json& json) try {
  if (json.at("format") != "aura.quantile_sketch")
    return Error{core_errc::bad_encoding, ErrorClass::permanent, "the JSON is no quantile sketch"};
  if (detail::whole_number(json.at("schema")) > detail::sketch_schema)
    return Error{core_errc::newer_format, ErrorClass::permanent, "the quantile sketch is of a newer schema than 1"};
  auto empty = QuantileSketch::make({.least = json.at("least").template get<double>(),
                                     .greatest = json.at("greatest").template get<double>(),
                                     .relative_error = json.at("relative_error").template get<double>(),
                                     .half_life = json.at("half_life").template get<double>(),
                                     .kept = json.at("kept").template get<std::vector<double>>()});
  if (!empty) return empty;
  std::vector<float> weights(empty->buckets());
  for (const Json& entry : json.at("weights"))
    weights.at(static_cast<std::size_t>(detail::whole_number(entry.at(0)))) = entry.at(1).template get<float>();
  return QuantileSketch::restore(empty->options(), weights);
} catch (const std::exception& fault) {
  return Error{core_errc::bad_encoding, ErrorClass::permanent,
               std::string("the quantile sketch does not parse: ") + fault.what()};
}

}  // namespace aura
