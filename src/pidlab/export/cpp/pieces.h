// The arithmetic of every model. Nothing here changes after it is initialised, so all of it may run in many threads.

/// A number as float32; NaN where it is not finite or does not fit, which means "missing".
template <class Number>
inline float narrowed(Number value)
{
   constexpr double limit = 3.4028235677973366e38; // from here on a double rounds to an infinite float
   if constexpr (std::is_integral<Number>::value)
      return static_cast<float>(value);
   else
      return std::abs(value) < limit ? static_cast<float>(value) : std::numeric_limits<float>::quiet_NaN();
}

/// A double as float32, infinite where it does not fit.
inline float single(double value)
{
   constexpr float infinite = std::numeric_limits<float>::infinity();
   if (std::abs(value) >= 3.4028235677973366e38) return value > 0 ? infinite : -infinite;
   return static_cast<float>(value);
}

/// Whether TTree::Draw would call it true: all but zero, NaN too.
template <class Number>
inline bool holds(Number value)
{
   return value != Number(0);
}

/// What stands in the place of n numbers that there are not.
template <std::size_t Length>
inline std::array<float, Length> nothing()
{
   std::array<float, Length> result;
   result.fill(std::numeric_limits<float>::quiet_NaN());
   return result;
}

/// A list of any kind with numbers of one kind.
template <class To, class List>
inline std::vector<To> copied(const List& list)
{
   std::vector<To> result;
   for (const auto& value : list) result.push_back(static_cast<To>(value));
   return result;
}

/// Whether a point lies inside a polygon, edges included, as TCutG::IsInside decides.
template <std::size_t Corners>
inline bool inside(const double (&polygon)[Corners][2], double x, double y)
{
   bool odd = false;
   for (std::size_t i = 0, j = Corners - 1; i < Corners; j = i++) {
      const double *a = polygon[i], *b = polygon[j];
      if ((a[1] < y) == (b[1] < y)) continue;
      // volatile, because a processor that multiplies and adds at once would round differently
      const volatile double step = (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
      if (a[0] + step < x) odd = !odd;
   }
   return odd;
}

// Scaling

/// The broken line through n knots, constant beyond them.
inline double on_broken_line(const double* knots, const double* values, std::size_t n, double x)
{
   const std::size_t above = static_cast<std::size_t>(std::upper_bound(knots, knots + n, x) - knots);
   if (above == 0) return values[0];
   if (above == n || knots[above - 1] == x) return values[above - 1];
   const double slope = (values[above] - values[above - 1]) / (knots[above] - knots[above - 1]);
   return slope * (x - knots[above - 1]) + values[above - 1];
}

/// The straight line through the first and the last of n knots.
inline double on_straight_line(const double* knots, const double* values, std::size_t n, double x)
{
   const double slope = (values[n - 1] - values[0]) / (knots[n - 1] - knots[0]);
   return (x - knots[0]) * slope + values[0];
}

// From margins to probabilities

/// Two classes: from the log-odds of the second one.
inline std::array<float, 2> posterior(const std::array<double, 1>& margin)
{
   const double small = std::exp(-std::abs(margin[0]));
   const float likely = static_cast<float>(1 / (1 + small)), unlikely = static_cast<float>(small / (1 + small));
   if (std::isnan(margin[0])) return {{likely, likely}};
   return margin[0] < 0 ? std::array<float, 2>{{likely, unlikely}} : std::array<float, 2>{{unlikely, likely}};
}

/// Three classes or more: softmax.
template <std::size_t Classes>
inline std::array<float, Classes> posterior(std::array<double, Classes> margins)
{
   double highest = margins[0], sum = 0;
   for (double margin : margins) highest = std::max(highest, margin);
   for (double& margin : margins) sum += margin = std::exp(margin - highest);
   std::array<float, Classes> result;
   for (std::size_t k = 0; k < Classes; ++k) result[k] = static_cast<float>(margins[k] / sum);
   return result;
}

/// Probabilities whose logarithms are multiplied by a factor and shifted by an offset for each class.
template <std::size_t Classes>
inline std::array<float, Classes>
vector_scaled(const std::array<float, Classes>& scores, double scale, const double (&offsets)[Classes])
{
   std::array<double, Classes> logarithms;
   for (std::size_t k = 0; k < Classes; ++k) {
      const double score = scores[k], smallest = std::numeric_limits<float>::denorm_min();
      logarithms[k] = scale * std::log(score < smallest ? smallest : score) + offsets[k]; // NaN stays NaN
   }
   if constexpr (Classes == 2)
      return posterior(std::array<double, 1>{{logarithms[1] - logarithms[0]}});
   else
      return posterior(logarithms);
}

/// The height of a broken line at a score; NaN stays NaN.
template <std::size_t Length>
inline double mapped(const double (&x)[Length], const double (&y)[Length], float score)
{
   return std::isnan(score) ? score : on_broken_line(x, y, Length, score);
}

/// Numbers as shares of their sum; equal ones where it is zero.
template <std::size_t Classes>
inline std::array<float, Classes> shares(const std::array<double, Classes>& values)
{
   double sum = 0;
   for (double value : values) sum += value;
   std::array<float, Classes> result;
   for (std::size_t k = 0; k < Classes; ++k) result[k] = static_cast<float>(sum == 0 ? 1.0 / Classes : values[k] / sum);
   return result;
}

/// The numbers of a, and behind them those of b.
template <std::size_t Scores, std::size_t Outputs>
inline std::array<float, Scores + Outputs>
joined(const std::array<float, Scores>& a, const std::array<float, Outputs>& b)
{
   std::array<float, Scores + Outputs> result;
   std::copy(a.begin(), a.end(), result.begin());
   std::copy(b.begin(), b.end(), result.begin() + Scores);
   return result;
}

/// The mean of several models, in single precision.
template <std::size_t Classes, std::size_t Length>
inline std::array<float, Classes> mean(const std::array<std::array<float, Classes>, Length>& all)
{
   std::array<float, Classes> result = all[0];
   for (std::size_t i = 1; i < Length; ++i)
      for (std::size_t k = 0; k < Classes; ++k) result[k] += all[i][k];
   for (float& value : result) value /= static_cast<float>(Length);
   return result;
}

// Linear models

template <std::size_t Features, std::size_t Width>
inline std::array<double, Width> linear_margins(const double (&coefficients)[Width][Features], const double (&intercept)[Width], const float* x)
{
   std::array<double, Width> result;
   for (std::size_t m = 0; m < Width; ++m) {
      result[m] = 0;
      for (std::size_t j = 0; j < Features; ++j) result[m] += coefficients[m][j] * x[j];
      result[m] += intercept[m];
   }
   return result;
}

// Likelihoods

/// The position of x on an axis of nodes, in numbers of nodes and within its ends; NaN for a missing value.
template <std::size_t Nodes>
inline double position(const double (&nodes)[Nodes], float x)
{
   const double value = x;
   if (std::isnan(value)) return value;
   if (value <= nodes[0]) return 0;
   if (value >= nodes[Nodes - 1]) return static_cast<double>(Nodes - 1);
   const auto low = static_cast<std::size_t>(std::upper_bound(nodes, nodes + Nodes, value) - nodes) - 1;
   return static_cast<double>(low) + (value - nodes[low]) / (nodes[low + 1] - nodes[low]);
}

/// Two neighbours of n places and the share of the way from the first to the second.
struct Neighbours {
   std::size_t first, second;
   double share;
};

inline Neighbours neighbours(double at, std::size_t n)
{
   const std::size_t last = n < 2 ? 0 : n - 2, first = std::min(static_cast<std::size_t>(at), last);
   return {first, std::min(first + 1, n - 1), at - static_cast<double>(first)};
}

inline double between(double a, double b, double share)
{
   return a + share * (b - a);
}

/// The place in a table of `bins` bins of a variable with this centre and inverse width.
inline Neighbours binned(float x, double centre, double inverse, double reach, double end, std::size_t bins)
{
   const double z = (static_cast<double>(x) - centre) * inverse;
   const double t = std::min(std::max(z / (reach + std::abs(z)), -end), end);
   return neighbours((t / end + 1) * 0.5 * static_cast<double>(bins), bins + 1);
}

/// Logarithms of abundances at a position on the axis; those without the axis if it is missing.
template <std::size_t Slices, std::size_t Classes>
inline std::array<double, Classes>
abundances(const double (&in_slices)[Slices][Classes], const double (&without)[Classes], double position, std::size_t fine)
{
   std::array<double, Classes> result;
   const bool missing = std::isnan(position);
   const Neighbours at = neighbours(missing ? 0.0 : position / static_cast<double>(fine), Slices);
   for (std::size_t k = 0; k < Classes; ++k)
      result[k] = missing ? without[k] : between(in_slices[at.first][k], in_slices[at.second][k], at.share);
   return result;
}

/// Adds weighted log-likelihoods, relative to that of the likeliest class.
template <std::size_t Classes>
inline void add_relative(const std::array<double, Classes>& values, const double (&weights)[Classes], std::array<double, Classes>& margins)
{
   double largest = values[0];
   for (double value : values) largest = std::max(largest, value);
   for (std::size_t k = 0; k < Classes; ++k) margins[k] += weights[k] * (values[k] - largest);
}

/// Adds a detector with one variable; nothing where it is missing, or the position on the axis.
template <std::size_t Nodes, std::size_t Classes, std::size_t Slices, std::size_t Length>
inline void add_detector(const double (&curves)[Nodes][Classes][3], const float (&tables)[Classes][Slices][Length],
                         const double (&weights)[Classes], double position, std::size_t fine, double reach, double end, float x,
                         std::array<double, Classes>& margins)
{
   if (std::isnan(x) || std::isnan(position)) return;
   const Neighbours node = neighbours(position, Nodes);
   const std::size_t slice = node.first / fine, next = std::min(slice + 1, Slices - 1);
   const double part = position / static_cast<double>(fine) - static_cast<double>(slice);
   std::array<double, Classes> values;
   for (std::size_t k = 0; k < Classes; ++k) {
      const double(&a)[3] = curves[node.first][k], (&b)[3] = curves[node.second][k];
      const auto i = binned(x, between(a[0], b[0], node.share), between(a[1], b[1], node.share), reach, end, Length - 1);
      const float(&upper)[Length] = tables[k][slice], (&lower)[Length] = tables[k][next];
      values[k] = between(between(upper[i.first], upper[i.second], i.share), between(lower[i.first], lower[i.second], i.share), part) -
                  between(a[2], b[2], node.share);
   }
   add_relative(values, weights, margins);
}

/// Adds a detector with two variables; nothing where one of them is missing, or the position on the axis.
template <std::size_t Nodes, std::size_t Classes, std::size_t Slices, std::size_t Length>
inline void add_detector(const double (&curves)[Nodes][Classes][5], const float (&tables)[Classes][Slices][Length][Length],
                         const double (&weights)[Classes], double position, std::size_t fine, double reach, double end, float x,
                         float y, std::array<double, Classes>& margins)
{
   if (std::isnan(x) || std::isnan(y) || std::isnan(position)) return;
   const Neighbours node = neighbours(position, Nodes);
   const std::size_t slice = node.first / fine, next = std::min(slice + 1, Slices - 1);
   const double part = position / static_cast<double>(fine) - static_cast<double>(slice);
   std::array<double, Classes> values;
   for (std::size_t k = 0; k < Classes; ++k) {
      const double(&a)[5] = curves[node.first][k], (&b)[5] = curves[node.second][k];
      const auto i = binned(x, between(a[0], b[0], node.share), between(a[1], b[1], node.share), reach, end, Length - 1);
      const auto j = binned(y, between(a[2], b[2], node.share), between(a[3], b[3], node.share), reach, end, Length - 1);
      const auto plane = [&i, &j](const float(&p)[Length][Length]) {
         return between(between(p[i.first][j.first], p[i.first][j.second], j.share),
                        between(p[i.second][j.first], p[i.second][j.second], j.share), i.share);
      };
      values[k] = between(plane(tables[k][slice]), plane(tables[k][next]), part) - between(a[4], b[4], node.share);
   }
   add_relative(values, weights, margins);
}

// Nested cuts

/// How many of m windows (low, high), from loose to tight, let x pass; a missing value passes those without faces.
inline std::size_t windows_passed(const double* low, const double* high, std::size_t m, float value)
{
   const double x = value, infinite = std::numeric_limits<double>::infinity();
   std::size_t passed = 0;
   if (std::isnan(value)) {
      while (passed < m && low[passed] == -infinite && high[passed] == infinite) ++passed;
      return passed;
   }
   const auto below = std::partition_point(low, low + m, [x](double face) { return face < x; }) - low;
   const auto above = std::partition_point(high, high + m, [x](double face) { return x < face; }) - high;
   return static_cast<std::size_t>(std::min(below, above));
}

// Bands

/// x moved to within two limits; NaN stays NaN.
inline double within(double x, double low, double high)
{
   return x < low ? low : x > high ? high : x;
}

/// A layer of a network in double precision, from `In` numbers to `Out`.
template <std::size_t In, std::size_t Out>
inline void dense(const float (&bias)[Out], const float (&weights)[Out][In], const double* in, double* out)
{
   for (std::size_t o = 0; o < Out; ++o) {
      out[o] = bias[o];
      for (std::size_t i = 0; i < In; ++i) out[o] += double(weights[o][i]) * in[i];
   }
}

/// Piecewise polynomials in u and v: the edges of the cells, where each cell counts from, and its coefficients.
template <std::size_t CellsU, std::size_t CellsV, std::size_t PowersU, std::size_t PowersV>
struct Polynomials {
   const double (&u_edges)[CellsU + 1], (&v_edges)[CellsV + 1], (&u_origins)[CellsU], (&v_origins)[CellsV];
   const double (&coefficients)[CellsU][CellsV][PowersU][PowersV];

   double operator()(double u, double v) const
   {
      u = within(u, u_edges[0], u_edges[CellsU]);
      v = within(v, v_edges[0], v_edges[CellsV]);
      const auto i = static_cast<std::size_t>(std::upper_bound(u_edges + 1, u_edges + CellsU, u) - u_edges - 1);
      const auto j = static_cast<std::size_t>(std::upper_bound(v_edges + 1, v_edges + CellsV, v) - v_edges - 1);
      double result = 0;
      for (std::size_t q = PowersU; q-- > 0;) {
         double inner = 0;
         for (std::size_t r = PowersV; r-- > 0;) inner = inner * (v - v_origins[j]) + coefficients[i][j][q][r];
         result = result * (u - u_origins[i]) + inner;
      }
      return result;
   }
};

/// (value - mean) / width at u and v, with the width of the value's side; NaN where anything is missing.
template <class Mean, class Below, class Above>
inline double distance(double value, double u, double v, const Mean& mean, const Below& below, const Above& above, double least)
{
   if (std::isnan(value) || std::isnan(u) || std::isnan(v)) return std::numeric_limits<double>::quiet_NaN();
   const double from_mean = value - mean(u, v);
   return from_mean / std::max(from_mean < 0 ? below(u, v) : above(u, v), least);
}

/// Minus the root of the sum of squared distances. Side -1 counts those below the mean, 1 those above, 0 both; what is
/// NaN adds nothing, and NaN comes of nothing.
template <std::size_t Variables>
inline double combined(const std::array<double, Variables>& distances, const std::array<int, Variables>& sides)
{
   double sum = 0;
   bool any = false;
   for (std::size_t j = 0; j < Variables; ++j) {
      if (std::isnan(distances[j])) continue;
      any = true;
      if (distances[j] * sides[j] >= 0) sum += distances[j] * distances[j];
   }
   return any ? -std::sqrt(sum) : std::numeric_limits<double>::quiet_NaN();
}

// Regressions: activations in double precision

inline double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }
inline double relu(double z) { return z < 0 ? 0 : z; }
inline double leaky_relu(double z) { return z < 0 ? 0.01 * z : z; }
inline double elu(double z) { return z < 0 ? std::expm1(z) : z; }
inline double silu(double z) { return z / (1 + std::exp(-z)); }
inline double gelu(double z) { return 0.5 * z * (1 + std::erf(z * 0.70710678118654752)); }

// Boosted trees

/// A node asks slot `feature` for a number below `threshold`: its left child is `step` nodes on, the right one behind it.
/// In a leaf `step` is 0, and `threshold` is what it adds; its slot holds -infinity, so that a walk stays there.
template <class Index>
struct Node {
   float threshold;
   Index feature, step;
};

/// The slots that nodes ask: all features with -infinity for "missing" (which goes left), then all with +infinity (which
/// goes right), then -infinity for the leaves.
template <std::size_t Features>
inline std::array<float, 2 * Features + 1> slots(const float* x)
{
   constexpr float infinite = std::numeric_limits<float>::infinity();
   std::array<float, 2 * Features + 1> result;
   for (std::size_t j = 0; j < Features; ++j) {
      const bool missing = std::isnan(x[j]);
      result[j] = missing ? -infinite : x[j];
      result[Features + j] = missing ? infinite : x[j];
   }
   result[2 * Features] = -infinite;
   return result;
}

/// One step down for each of several trees.
template <class Index, std::size_t... Tree>
inline void stepped(const Node<Index>** at, const float* x, std::index_sequence<Tree...>)
{
   ((at[Tree] += at[Tree]->step + !(x[at[Tree]->feature] < at[Tree]->threshold)), ...);
}

/// The trees from `first` to `last` on one margin. Eight of them are walked at once, for the processor to do something
/// while a node is on its way; they are added up in their order.
template <class Sum, class Index>
inline Sum walked(const Node<Index>* nodes, const std::uint32_t* roots, const unsigned char* depths, std::size_t first,
                  std::size_t last, const float* x, Sum sum)
{
   constexpr std::size_t together = 8;
   std::size_t tree = first;
   for (; tree + together <= last; tree += together) {
      const Node<Index>* at[together];
      unsigned deepest = 0;
      for (std::size_t k = 0; k < together; ++k) {
         at[k] = nodes + roots[tree + k];
         deepest = std::max<unsigned>(deepest, depths[tree + k]);
      }
      for (unsigned level = 0; level < deepest; ++level) stepped(at, x, std::make_index_sequence<together>());
      for (std::size_t k = 0; k < together; ++k) sum += at[k]->threshold;
   }
   for (; tree < last; ++tree) {
      const Node<Index>* at = nodes + roots[tree];
      for (unsigned level = 0; level < depths[tree]; ++level) at += at->step + !(x[at->feature] < at->threshold);
      sum += at->threshold;
   }
   return sum;
}

// Networks

/// a * b + c, rounded once: pidlab's networks do it so, and bits must not differ.
struct Native {
   static float fused(float a, float b, float c) { return std::fma(a, b, c); }
};
struct Emulated { // where the processor may have no instruction for it: the product of two floats is exact in a double
   static float fused(float a, float b, float c) { return static_cast<float>(static_cast<double>(a) * b + c); }
};
#ifdef FP_FAST_FMAF
using Compiled = Native;
#else
using Compiled = Emulated;
#endif

/// A network's scores, by the instructions that this processor has even where the compiler was not told of them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CLING__) && !defined(FP_FAST_FMAF)
template <class Network>
__attribute__((target("avx2,fma"), flatten)) inline auto natively(const float* x)
{
   return Network::template scores<Native>(x);
}
template <class Network>
inline auto fastest(const float* x)
{
   const bool native = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
   return native ? natively<Network>(x) : Network::template scores<Compiled>(x);
}
#else
template <class Network>
inline auto fastest(const float* x)
{
   return Network::template scores<Compiled>(x);
}
#endif

/// out = bias + weights * in; `weights` holds the inputs' rows, so that neighbours in memory are outputs.
template <class Math, std::size_t In, std::size_t Out>
inline void layer(const float (&bias)[Out], const float (&weights)[In][Out], const float* in, float* out)
{
   constexpr std::size_t fours = In / 4 * 4;
   float sum[Out];
   for (std::size_t o = 0; o < Out; ++o) sum[o] = bias[o];
   for (std::size_t j = 0; j < fours; j += 4) {
      const float *a = weights[j], *b = weights[j + 1], *c = weights[j + 2], *d = weights[j + 3];
      const float p = in[j], q = in[j + 1], r = in[j + 2], s = in[j + 3];
      for (std::size_t o = 0; o < Out; ++o) sum[o] += Math::fused(d[o], s, Math::fused(c[o], r, Math::fused(a[o], p, b[o] * q)));
   }
   for (std::size_t j = fours; j < In; ++j)
      for (std::size_t o = 0; o < Out; ++o) sum[o] = Math::fused(weights[j][o], in[j], sum[o]);
   for (std::size_t o = 0; o < Out; ++o) out[o] = sum[o];
}

/// exp(x) to about 1e-7, beyond +-87 that of the limit: two to the k by its bits, times the Taylor series of the rest.
template <class Math>
inline float exponential(float x)
{
   const float v = std::min(std::max(x, -87.0f), 87.0f);
   const float k = std::floor(Math::fused(v, 1.44269504f, 0.5f));
   const float r = Math::fused(-k, -2.12194440e-4f, Math::fused(-k, 0.693359375f, v));
   float series = Math::fused(r, Math::fused(r, 1.0f / 5040, 1.0f / 720), 1.0f / 120);
   series = Math::fused(r, Math::fused(r, Math::fused(r, series, 1.0f / 24), 1.0f / 6), 0.5f);
   series = Math::fused(r, Math::fused(r, series, 1.0f), 1.0f);
   const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(k) + 127) << 23;
   float power;
   std::memcpy(&power, &bits, sizeof power);
   return series * power;
}

template <class Math>
struct Sigmoid {
   float operator()(float z) const { return 1 / (1 + exponential<Math>(-z)); }
};
template <class Math>
struct Tanh {
   float operator()(float z) const { return 2 / (1 + exponential<Math>(-2 * z)) - 1; }
};
template <class Math>
struct Relu {
   float operator()(float z) const { return std::max(z, 0.0f); }
};
template <class Math>
struct LeakyRelu {
   float operator()(float z) const { return std::max(z, 0.01f * z); }
};
template <class Math>
struct Elu {
   float operator()(float z) const { return z > 0 ? z : exponential<Math>(z) - 1; }
};
template <class Math>
struct Silu {
   float operator()(float z) const { return z / (1 + exponential<Math>(-z)); }
};
template <class Math>
struct Gelu {
   float operator()(float z) const { return static_cast<float>(0.5 * z * (1 + std::erf(z * 0.70710678118654752))); }
};

template <class Function>
inline void activate(float* values, std::size_t n)
{
   for (std::size_t i = 0; i < n; ++i) values[i] = Function()(values[i]);
}

/// The larger of the two pieces of each of n units.
inline void maxout(float* values, std::size_t n)
{
   for (std::size_t i = 0; i < n; ++i) values[i] = std::max(values[i], values[i + n]);
}

/// NaN where an input is not finite, else 0.
inline float spoiled(const float* x, std::size_t n)
{
   float result = 0;
   for (std::size_t j = 0; j < n; ++j) result += x[j] * 0.0f;
   return result;
}

// Thresholds that follow spectators

/// The node at or below x and the share of the way to the next one; NaN goes with NaN.
struct Place {
   std::size_t below, above;
   double share;
};

inline Place placed(const double* nodes, std::size_t n, double x)
{
   if (std::isnan(x)) return {0, 0, x};
   if (n == 1) return {0, 0, 0.0};
   x = std::min(std::max(x, nodes[0]), nodes[n - 1]);
   const auto above = static_cast<std::size_t>(std::upper_bound(nodes, nodes + n, x) - nodes);
   const std::size_t left = std::min(above == 0 ? 0 : above - 1, n - 2);
   return {left, left + 1, (x - nodes[left]) / (nodes[left + 1] - nodes[left])};
}

template <std::size_t Length>
inline float threshold_at(const double (&nodes)[Length], const double (&values)[Length], double x)
{
   const Place p = placed(nodes, Length, x);
   return static_cast<float>((1 - p.share) * values[p.below] + p.share * values[p.above]);
}

template <std::size_t Length, std::size_t Width>
inline float threshold_at(const double (&nodes)[Length], const double (&nodes2)[Width], const double (&values)[Length][Width], double x, double y)
{
   const Place p = placed(nodes, Length, x), q = placed(nodes2, Width, y);
   const double lower = (1 - q.share) * values[p.below][q.below] + q.share * values[p.below][q.above];
   const double upper = (1 - q.share) * values[p.above][q.below] + q.share * values[p.above][q.above];
   return static_cast<float>((1 - p.share) * lower + p.share * upper);
}
