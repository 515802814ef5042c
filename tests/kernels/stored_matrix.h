// A random matrix in one of the stored formats, with the bytes it points to.
#pragma once

#include "tests/kernels/kernel_rows.h"

namespace lares::kernels::test {

struct Stored {
  Matrix m;
  std::vector<std::uint8_t> codes, scales;
  std::vector<float> f32;
  std::vector<std::uint16_t> b16;
  std::vector<float> f32_scales;
};

inline Stored stored(Format format, int n_out, int n_in, bool f32_scale = false) {
  Stored s;
  s.m.format = format;
  s.m.n_out = n_out;
  s.m.n_in = n_in;
  const std::size_t n = static_cast<std::size_t>(n_out) * n_in;
  const std::size_t blocks = static_cast<std::size_t>((n_out + 127) / 128) * ((n_in + 127) / 128);
  switch (format) {
    case Format::f32:
      s.f32 = normals(n, 11);
      s.m.data = s.f32.data();
      break;
    case Format::bf16:
      for (const float v : normals(n, 12)) s.b16.push_back(bf16_bits(v));
      s.m.data = s.b16.data();
      break;
    case Format::fp8:
      s.codes = bytes(n + 3, 13);
      for (auto& c : s.codes)
        if ((c & 0x7F) == 0x7F) c = 0;
      s.m.data = s.codes.data() + 3;  // stored tensors need not be aligned
      s.scales = bytes(blocks, 14);
      for (auto& v : s.scales) v = static_cast<std::uint8_t>(110 + v % 30);
      s.f32_scales = normals(blocks, 15);
      if (f32_scale)
        s.m.scale_f32 = s.f32_scales.data();
      else
        s.m.scale = s.scales.data();
      break;
    case Format::fp4:
      s.codes = bytes(n / 2 + 1, 16);
      s.m.data = s.codes.data() + 1;
      s.scales = bytes(n / 32, 17);
      for (auto& v : s.scales) v = static_cast<std::uint8_t>(110 + v % 30);
      s.m.scale = s.scales.data();
      break;
  }
  return s;
}

}  // namespace lares::kernels::test
