// The time of one sample through a recurrent layer of one input and a dense layer to one output in RTNeural, sizes known at
// compile time: the case of `cargo bench --bench stream`. `stream.py` builds and runs it.
//
// Prints lines "cell units least median", microseconds of calls of one sample; each value is the mean of 1000 calls in a row.

#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace
{
constexpr int calls = 1000;

std::vector<std::vector<float>> random_matrix(std::mt19937& random, int rows, int columns, float bound)
{
    std::uniform_real_distribution<float> weight(-bound, bound);
    std::vector<std::vector<float>> matrix(rows, std::vector<float>(columns));
    for(auto& row : matrix)
        for(auto& value : row)
            value = weight(random);
    return matrix;
}

template <typename Layer>
void fill(Layer& layer, std::mt19937& random, int gates, int units)
{
    const float bound = 1.0f / std::sqrt(static_cast<float>(units));
    layer.setWVals(random_matrix(random, 1, gates * units, bound));
    layer.setUVals(random_matrix(random, units, gates * units, bound));
    if constexpr(std::is_same_v<Layer, RTNeural::LSTMLayerT<float, 1, Layer::out_size>>)
        layer.setBVals(random_matrix(random, 1, gates * units, bound)[0]);
    else
        layer.setBVals(random_matrix(random, 2, gates * units, bound));
}

template <template <typename, int, int, RTNeural::SampleRateCorrectionMode, typename> class Recurrent, int units>
void measure(const char* cell, int gates, long steps)
{
    using Layer = Recurrent<float, 1, units, RTNeural::SampleRateCorrectionMode::None, RTNeural::DefaultMathsProvider>;
    static RTNeural::ModelT<float, 1, 1, Layer, RTNeural::DenseT<float, units, 1>> model;
    std::mt19937 random(1);
    fill(model.template get<0>(), random, gates, units);
    const float bias[] = { 0.1f };
    model.template get<1>().setWeights(random_matrix(random, 1, units, 0.2f));
    model.template get<1>().setBias(bias);
    model.reset();

    std::vector<double> means;
    unsigned n = 0;
    volatile float sink = 0.0f;
    for(long step = 0; step < std::max(steps, 2L * calls); step += calls)
    {
        const auto start = std::chrono::steady_clock::now();
        for(int call = 0; call < calls; ++call)
        {
            ++n;
            const float x[] = { static_cast<float>(n % 64) / 64.0f - 0.5f };
            sink = model.forward(x);
        }
        const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
        means.push_back(taken.count() / calls);
    }
    std::sort(means.begin(), means.end());
    std::printf("%s %d %.4f %.4f\n", cell, units, means.front(), means[means.size() / 2]);
    std::fflush(stdout);
}

template <int... units>
void measure_all(long steps)
{
    // A step of many units takes as long as hundreds of small ones.
    (measure<RTNeural::LSTMLayerT, units>("lstm", 4, steps * 64 / std::max(units, 64)), ...);
    (measure<RTNeural::GRULayerT, units>("gru", 3, steps * 64 / std::max(units, 64)), ...);
}
}

int main(int argc, char** argv)
{
    measure_all<8, 16, 20, 32, 40, 64>(argc > 1 ? std::atol(argv[1]) : 200000);
}
