// Behind a line that includes a header and calls its namespace `pid`, and `call_with_values`, which calls its functions
// of plain values: reads events, writes everything that the header says of them. Compiled or interpreted by pidlab.

#include <cstdio>
#include <fstream>
#include <iterator>

namespace pidlab_check {

/// The values of every branch, one after the other, from a file: for each branch the number of bytes, then these.
class Reader {
public:
   explicit Reader(const char* path)
   {
      std::ifstream file(path, std::ios::binary);
      std::uint64_t size = 0;
      while (file.read(reinterpret_cast<char*>(&size), sizeof size)) {
         columns.emplace_back(size);
         file.read(columns.back().data(), static_cast<std::streamsize>(size));
      }
      places.resize(columns.size());
   }

   void next() { column = 0; }

   template <class Value>
   void operator()(const char*, Value& value)
   {
      read(value);
      ++column;
   }

private:
   std::vector<std::vector<char>> columns;
   std::vector<std::size_t> places;
   std::size_t column = 0;

   void take(void* target, std::size_t size)
   {
      if (size) std::memcpy(target, columns[column].data() + places[column], size);
      places[column] += size;
   }

   template <class Number>
   void read(Number& value)
   {
      take(&value, sizeof value);
   }
   void read(bool& value)
   {
      std::uint64_t whole = 0;
      take(&whole, sizeof whole);
      value = whole != 0;
   }
   void read(std::string& value)
   {
      std::uint64_t size = 0;
      take(&size, sizeof size);
      value.resize(size);
      take(&value[0], size);
   }
   template <class Number>
   void read(std::vector<Number>& value)
   {
      std::uint64_t size = 0;
      take(&size, sizeof size);
      value.resize(size);
      take(value.data(), size * sizeof(Number));
   }
};

/// Every output as a double.
struct Writer {
   std::vector<double> values;

   template <class Value>
   void operator()(const char*, Value value)
   {
      values.push_back(static_cast<double>(value));
   }
};

int run(const char* input, std::uint64_t n, const char* output)
{
   Reader reader(input);
   Writer writer;
   pid::Event event;
   for (std::uint64_t i = 0; i < n; ++i) {
      reader.next();
      pid::branches(event, reader);
      pid::outputs(event, writer);
      call_with_values(event, writer);
   }
   std::ofstream file(output, std::ios::binary);
   file.write(reinterpret_cast<const char*>(writer.values.data()),
              static_cast<std::streamsize>(writer.values.size() * sizeof(double)));
   return file.flush() ? 0 : 1;
}

} // namespace pidlab_check

#ifndef __CLING__
int main(int, char** words) { return pidlab_check::run(words[1], std::stoull(words[2]), words[3]); }
#endif
