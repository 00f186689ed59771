/// Draws what a run left in results.root: one page with the misidentification against the signal efficiency of all
/// models (points of models without a curve too), then a page with the efficiencies of each model.
///
///     root -l -b -q 'draw_results.C("runs/shms/results.root", "shms.pdf")'
///
/// file  results.root of a run: one directory a model with the graphs `roc` and `working_points_CLASS`, and the
///       TEfficiency objects `efficiency_SPECTATOR_WORKINGPOINT`; its other directories are left alone
/// out   a PDF, one page a canvas
///
/// Prints a line for every object drawn and returns their number: 0 means that the file holds none, -1 that it cannot
/// be opened.

#include <TCanvas.h>
#include <TDirectory.h>
#include <TEfficiency.h>
#include <TFile.h>
#include <TGraphAsymmErrors.h>
#include <TH1.h>
#include <TKey.h>
#include <TLegend.h>
#include <TMultiGraph.h>
#include <TROOT.h>
#include <TString.h>

#include <cstdio>
#include <memory>
#include <vector>

namespace pidlab_draw_results {

const int colours[] = {kBlack, kRed + 1, kBlue + 1, kGreen + 2, kMagenta + 1, kOrange + 7, kCyan + 2, kGray + 2};

int colour(std::size_t i) { return colours[i % (sizeof(colours) / sizeof(*colours))]; }

/// The directories that hold a model: those with a curve or with working points.
std::vector<TDirectory*> models(TDirectory* file)
{
   std::vector<TDirectory*> found;
   for (TObject* object : *file->GetListOfKeys()) {
      auto* key = static_cast<TKey*>(object);
      TDirectory* directory = TString(key->GetClassName()).BeginsWith("TDirectory") ? file->GetDirectory(key->GetName()) : nullptr;
      if (!directory) continue;
      bool isModel = false;
      for (TObject* held : *directory->GetListOfKeys())
         isModel |= TString(held->GetName()) == "roc" || TString(held->GetName()).BeginsWith("working_points_");
      if (isModel) found.push_back(directory);
   }
   return found;
}

/// The curve of a model, or its points where it has none.
TGraphAsymmErrors* curve(TDirectory* model)
{
   if (auto* roc = model->Get<TGraphAsymmErrors>("roc")) return roc;
   for (TObject* key : *model->GetListOfKeys())
      if (TString(key->GetName()).BeginsWith("working_points_")) return model->Get<TGraphAsymmErrors>(key->GetName());
   return nullptr;
}

int drawCurves(const std::vector<TDirectory*>& directories, TCanvas& canvas, const char* out)
{
   TMultiGraph all;
   TLegend legend(0.71, 0.65, 0.99, 0.90);
   int drawn = 0;
   for (std::size_t i = 0; i < directories.size(); ++i) {
      TGraphAsymmErrors* graph = curve(directories[i]);
      if (!graph || graph->GetN() == 0) continue;
      graph->SetLineColor(colour(i));
      graph->SetMarkerColor(colour(i));
      graph->SetMarkerSize(graph->GetN() > 20 ? 0.3 : 1.0);
      all.Add(graph, graph->GetN() > 20 ? "LP" : "P");
      if (drawn == 0) all.SetTitle(TString(";") + graph->GetXaxis()->GetTitle() + ";" + graph->GetYaxis()->GetTitle());
      legend.AddEntry(graph, directories[i]->GetName(), "LP");
      printf("drawn: %s/%s, %d points\n", directories[i]->GetName(), graph->GetName(), graph->GetN());
      ++drawn;
   }
   if (drawn == 0) return 0;
   canvas.SetLogy(true);
   all.Draw("A");
   legend.Draw();
   canvas.Print(out);
   canvas.SetLogy(false);
   canvas.Clear();
   return drawn;
}

int drawEfficiencies(TDirectory* model, TCanvas& canvas, const char* out)
{
   TMultiGraph all;
   TLegend legend(0.71, 0.65, 0.99, 0.90);
   std::vector<std::unique_ptr<TEfficiency>> kept;
   int drawn = 0;
   for (TObject* object : *model->GetListOfKeys()) {
      auto* key = static_cast<TKey*>(object);
      if (TString(key->GetClassName()) != "TEfficiency" || !TString(key->GetName()).BeginsWith("efficiency_")) continue;
      kept.emplace_back(key->ReadObject<TEfficiency>());
      if (kept.back()->GetDimension() != 1) continue;
      TGraphAsymmErrors* graph = kept.back()->CreateGraph();
      if (graph->GetN() == 0) continue;
      graph->SetLineColor(colour(drawn));
      graph->SetMarkerColor(colour(drawn));
      all.Add(graph, "P");
      if (drawn == 0) all.SetTitle(TString(model->GetName()) + ";" + graph->GetXaxis()->GetTitle() + ";" + graph->GetYaxis()->GetTitle());
      legend.AddEntry(graph, key->GetName(), "LP");
      printf("drawn: %s/%s, %d bins\n", model->GetName(), key->GetName(), graph->GetN());
      ++drawn;
   }
   if (drawn == 0) return 0;
   all.Draw("A");
   legend.Draw();
   canvas.Print(out);
   canvas.Clear();
   return drawn;
}

} // namespace pidlab_draw_results

int draw_results(const char* file = "results.root", const char* out = "draw_results.pdf")
{
   using namespace pidlab_draw_results;
   gROOT->SetBatch(true);
   std::unique_ptr<TFile> input(TFile::Open(file));
   if (!input || input->IsZombie()) {
      fprintf(stderr, "draw_results: %s cannot be opened\n", file);
      return -1;
   }
   const std::vector<TDirectory*> directories = models(input.get());
   TCanvas canvas("draw_results", "results", 1000, 600);
   canvas.SetRightMargin(0.30); // the legend stands beside the points, not on them
   canvas.Print(TString(out) + "[");
   int drawn = drawCurves(directories, canvas, out);
   for (TDirectory* model : directories) drawn += drawEfficiencies(model, canvas, out);
   canvas.Print(TString(out) + "]");
   printf("draw_results: %d objects of %zu models in %s\n", drawn, directories.size(), out);
   return drawn;
}
