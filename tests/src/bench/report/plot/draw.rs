//! How the plots are drawn. Axes of values begin at zero, so that lengths may be compared.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::{
        BLACK, Cartesian2d, ChartBuilder, ChartContext, Circle, Color as _, DrawingArea, EmptyElement,
        IntoDrawingArea as _, IntoFont as _, PathElement, RGBColor, SVGBackend, Text, TextStyle, WHITE,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    super::{figures::shown, targets::TAPWIRE},
    Panel, Row, colour,
};

/// Of all plots, in pixels.
const WIDTH: u32 = 860;
/// Above the first panel, in pixels: the title and what dot and line are.
const HEAD: u32 = 62;
/// Of a row, in pixels.
const ROW: u32 = 26;
/// What a panel takes beside its rows, in pixels: its title, the axis and its name.
const AROUND: u32 = 84;
/// For the names of the paths, in pixels.
const NAMES: u32 = 140;
/// For the medians in figures, in pixels.
const FIGURES: i32 = 86;
/// Samples of one row, from which on the dots are smaller.
const MANY: usize = 40;
/// Room beside a plot, in pixels.
#[derive(Clone, Copy)]
struct Sides {
    left: u32,
    right: i32,
}

const FONT: &str = "sans-serif";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A drawing's errors borrow from it.
fn lost(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("{error}")
}

/// Panels one below the other, each with a row of dots for each path.
pub(super) fn strips(title: &str, panels: &[Panel]) -> Result<String> {
    let heights: Vec<u32> = panels.iter().map(height).collect();
    let mut svg = String::new();
    {
        let root = begin(&mut svg, title, HEAD + heights.iter().sum::<u32>())?;
        let mut top = HEAD;
        for (panel, height) in panels.iter().zip(heights) {
            let (_, rest) = root.split_vertically(top);
            let (area, _) = rest.split_vertically(height);
            strip(&area, panel)?;
            top += height;
        }
        root.present().map_err(lost)?;
    }
    Ok(svg)
}

fn height(panel: &Panel) -> u32 {
    AROUND + ROW * u32::try_from(panel.rows.len()).unwrap_or(1)
}

/// A white sheet with its title, and what is to be seen on it.
fn begin<'a>(svg: &'a mut String, title: &str, height: u32) -> Result<Area<'a>> {
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE).map_err(lost)?;
    let centred = |size| text(size, HPos::Center);
    let middle = WIDTH.cast_signed() / 2;
    root.draw(&Text::new(title.to_owned(), (middle, 16), centred(20))).map_err(lost)?;
    let legend = "each dot is one sample; black lines are medians";
    root.draw(&Text::new(legend, (middle, 42), centred(13))).map_err(lost)?;
    Ok(root)
}

fn text(size: i32, side: HPos) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK).pos(Pos::new(side, VPos::Center))
}

fn strip(area: &Area<'_>, panel: &Panel) -> Result<()> {
    let rows = f64::from(u32::try_from(panel.rows.len())?);
    let top = panel.rows.iter().flat_map(|row| &row.values).copied().fold(0.0, f64::max);
    // A panel of zeros has an axis too.
    let range = 0.0..if top > 0.0 { top * 1.03 } else { 1.0 };
    let mut chart = chart(area, &panel.title, range.clone(), 0.0..rows, Sides { left: NAMES, right: FIGURES })?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_labels(8)
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_label_formatter(&|value| tick(*value))
        .x_desc(panel.unit.as_str())
        .y_desc("path")
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 13))
        .draw()
        .map_err(lost)?;
    for (at, row) in panel.rows.iter().enumerate() {
        // The first path on top.
        let middle = rows - 0.5 - f64::from(u32::try_from(at)?);
        dots(&mut chart, row, &|value, jitter| (value, middle + jitter))?;
        let (from, to) = ((row.median, middle - 0.38), (row.median, middle + 0.38));
        median(&mut chart, from, to)?;
        label(&mut chart, (range.start, middle), -8, row.path.clone(), HPos::Right)?;
        label(&mut chart, (range.end, middle), 8, shown(row.median), HPos::Left)?;
    }
    Ok(())
}

fn chart<'a, 'b>(
    area: &Area<'b>,
    title: &str,
    x: Range<f64>,
    y: Range<f64>,
    Sides { left, right }: Sides,
) -> Result<Chart<'a, 'b>> {
    ChartBuilder::on(area)
        .caption(title, (FONT, 15))
        .margin_left(6)
        .margin_right(right)
        .margin_bottom(8)
        .x_label_area_size(44)
        .y_label_area_size(left)
        .build_cartesian_2d(x, y)
        .map_err(lost)
}

/// A value on an axis, which is a round one.
fn tick(value: f64) -> String {
    if value.fract() == 0.0 && value < 10_000.0 { format!("{value}") } else { shown(value) }
}

/// The samples, spread across the row so that equal ones are seen.
fn dots(chart: &mut Chart<'_, '_>, row: &Row, place: &dyn Fn(f64, f64) -> (f64, f64)) -> Result<()> {
    let (red, green, blue) = colour(&row.path);
    let many = row.values.len() > MANY;
    let style = RGBColor(red, green, blue).mix(if many { 0.35 } else { 0.6 }).filled();
    let circles = row.values.iter().enumerate().map(|(at, value)| {
        // Steps that are no part of the whole visit all of it, and the drawing is the same each time.
        let jitter = number((at * 37 + 50) % 101) / 101.0 - 0.5;
        Circle::new(place(*value, jitter * 0.5), if many { 2 } else { 4 }, style)
    });
    chart.draw_series(circles).map(drop).map_err(lost)
}

fn median(chart: &mut Chart<'_, '_>, from: (f64, f64), to: (f64, f64)) -> Result<()> {
    let line = PathElement::new(vec![from, to], BLACK.stroke_width(2));
    chart.draw_series([line]).map(drop).map_err(lost)
}

/// A text beside the plotting area, at a distance in pixels from a point on its edge.
fn label(chart: &mut Chart<'_, '_>, at: (f64, f64), distance: i32, label: String, side: HPos) -> Result<()> {
    let element = EmptyElement::at(at) + Text::new(label, (distance, 0), text(14, side));
    chart.draw_series([element]).map(drop).map_err(lost)
}

/// A count as a place on an axis.
fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Each attach in its order, in bands; a line is the median of its band.
pub(super) fn growth(title: &str, bands: &[Row]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = begin(&mut svg, title, 460)?;
        let (_, area) = root.split_vertically(HEAD);
        let all = || bands.iter().flat_map(|band| &band.values);
        let (x, y) = (0.0..number(all().count()) + 1.0, 0.0..all().copied().fold(0.0, f64::max) * 1.05);
        let mut chart = chart(&area, "tapwire attach", x, y, Sides { left: 70, right: 30 })?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .x_labels(11)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| tick(*value))
            .x_desc("bindings on the node, this one included")
            .y_desc("wall time, ms")
            .axis_desc_style((FONT, 14))
            .label_style((FONT, 13))
            .draw()
            .map_err(lost)?;
        let mut begin = 1.0;
        for band in bands {
            begin = dots_of_band(&mut chart, band, begin)?;
        }
        root.present().map_err(lost)?;
    }
    Ok(svg)
}

/// Draws a band from there on, and gives where the next one begins.
fn dots_of_band(chart: &mut Chart<'_, '_>, band: &Row, begin: f64) -> Result<f64> {
    let (red, green, blue) = colour(TAPWIRE);
    let style = RGBColor(red, green, blue).mix(0.45).filled();
    let points = band.values.iter().enumerate();
    chart.draw_series(points.map(|(at, value)| Circle::new((begin + number(at), *value), 2, style))).map_err(lost)?;
    let next = begin + number(band.values.len());
    median(chart, (begin, band.median), (next - 1.0, band.median))?;
    Ok(next)
}
